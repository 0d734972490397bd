internal import Datapath
internal import Linux
internal import Settings
internal import Setup

extension PastaDaemon {
    /// The run itself to its end, under the filter. It ends the process and returns a status only in form, because who owns `worker` would
    /// then unmap its tables, which is not permitted any more.
    func runClosed(
        _ worker: inout PastaWorker, _ signals: QuitSignals, _ watch: NamespaceWatch?, _ hostFeed: inout HostFeed?,
        _ control: inout PortControlServer?, _ spawned: SpawnedCommand?
    ) -> Int32 {
        do throws(SetupError) {
            let status = try forward(&worker, signals, watch, &hostFeed, &control, spawned)
            worker.leave()
            return Process.leave(status)
        } catch {
            log.error(error.message)
            return Process.leave(1)
        }
    }

    /// Returns the exit status.
    func forward(
        _ worker: inout PastaWorker, _ signals: QuitSignals, _ watch: NamespaceWatch?, _ hostFeed: inout HostFeed?,
        _ control: inout PortControlServer?, _ spawned: SpawnedCommand?
    ) throws(SetupError) -> Int32 {
        // The command may have ended before its signal was watched for.
        if let status = spawned?.ended() { return status }
        var statistics = Statistics(seconds: options.statisticsInterval)
        while true {
            let wake: Wake
            do throws(Errno) { wake = try worker.run(until: nextDeadline(statistics?.due, control?.due)) } catch {
                throw SetupError(.process, "Couldn't wait for events", error)
            }
            switch wake {
            case .external(Watched.signals):
                if let status = handle(signals, spawned, worker) { return status }
            case .external(Watched.hostFeed):
                hostFeed?.read(into: &worker)
            case .external(Watched.control):
                control?.accept(&worker)
            case .external(Watched.controlClient):
                control?.receive(&worker)
            case .external:
                if watch?.isGone() == true { return ended("Namespace is gone, exiting", spawned) }
            case .guestGone:
                return ended("Tap device is gone, exiting", spawned)
            case .listenersEnded(let ended): tell(ended)
            case .notice(let notice):
                tell(notice)
            case .guest(let notice):
                // A namespace does not come and go, but its capture may end.
                tell(notice)
            case .portsDue:
                followPorts(&worker)
            case .deadline:
                statistics?.printIfDue(worker)
            }
            if let answer = control?.proceed(&worker, { tell($0) }) { tell(answer) }
        }
    }

    /// A command decides on the status itself, and its end comes with the namespace's.
    private func ended(_ reason: StaticString, _ spawned: SpawnedCommand?) -> Int32 {
        log.info(reason)
        guard let spawned else { return 0 }
        return spawned.waitForEnd()
    }

    private func handle(_ signals: QuitSignals, _ spawned: SpawnedCommand?, _ worker: borrowing PastaWorker) -> Int32? {
        while let event = signals.next() {
            switch event {
            case .quit: return 0
            case .printCounters: logCounters(worker)
            case .child: if let status = spawned?.ended() { return status }
            case .interrupt(let isOfProcess): if let status = spawned?.interrupt(isOfProcess) { return status }
            case .suspend: spawned?.suspend()
            }
        }
        return nil
    }
}
