internal import Datapath
internal import Linux
internal import Settings
internal import Setup

extension PasstDaemon {
    /// The run itself to its end, under the filter; see `PastaDaemon.runClosed`.
    func runClosed<Work: Worker & ~Copyable>(
        _ worker: inout Work, _ signals: QuitSignals, _ hostFeed: inout HostFeed?, _ control: inout PortControlServer?
    ) -> Int32 {
        do throws(Errno) {
            let status = try forward(&worker, signals, &hostFeed, &control)
            worker.leave()
            return Process.leave(status)
        } catch {
            log.error("Couldn't wait for events: error ", Int(error.code))
            return Process.leave(1)
        }
    }

    private func forward<Work: Worker & ~Copyable>(
        _ worker: inout Work, _ signals: QuitSignals, _ hostFeed: inout HostFeed?, _ control: inout PortControlServer?
    ) throws(Errno) -> Int32 {
        var statistics = Statistics(seconds: options.statisticsInterval)
        while true {
            switch try worker.run(until: nextDeadline(statistics?.due, control?.due)) {
            case .external(Watched.signals):
                while let event = signals.next() {
                    if event == .quit { return 0 }
                    if event == .printCounters { logCounters(worker) }
                }
            case .external(Watched.control):
                control?.accept(&worker)
            case .external(Watched.controlClient):
                control?.receive(&worker)
            case .external:
                hostFeed?.read(into: &worker)
            case .guest(let notice):
                tell(notice)
            case .guestGone:
                log.info("Virtual machine is gone, exiting")
                return 0
            case .listenersEnded(let ended): tell(ended)
            case .notice(let notice):
                tell(notice)
            case .portsDue: break  // Nothing to look at: a machine tells nobody who listens in it.
            case .deadline:
                statistics?.printIfDue(worker)
            }
            if let answer = control?.proceed(&worker, { tell($0) }) { tell(answer) }
        }
    }
}
