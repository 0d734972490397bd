internal import Datapath
internal import Linux
internal import Settings
internal import Setup

/// What the guest's link has to tell. It runs in a process that is closed in already, hence without making strings.
extension ProgramRun {
    func tell(_ notice: GuestNotice) {
        switch notice {
        case .arrived: log.info("Virtual machine connected")
        case .left: log.info("Virtual machine disconnected")
        case .brokeFraming: log.warning("Virtual machine sent a frame of impossible length: its connection is closed")
        case .brokeProtocol(let request):
            log.warning("Virtual machine sent a message of vhost-user that cannot be served: its connection is closed; number ", Int(request))
        case .brokeRing: log.warning("Virtual machine's driver put something impossible into a ring: nothing passes by it until the driver starts anew")
        case .turnedAway: log.info("Turned away: one virtual machine is connected already")
        case .unwatched(let error): tellOfWatch(error)
        case .unmapped(let error): tellOfMemory(error)
        case .captureEnded(let error): tellOfCapture("Nothing more is written to capture file ", error)
        case .captureLacksFrames(let error): tellOfCapture("Frames are missing in capture file ", error)
        }
    }

    private func tellOfWatch(_ error: Errno) {
        switch error.code {
        case 12: log.warning("Virtual machine's connection is closed: the kernel has no memory to watch it")  // ENOMEM
        case 28:  // ENOSPC
            log.warning("Virtual machine's connection is closed: the kernel watches no more for this user, raise fs.epoll.max_user_watches with sysctl")
        default: log.warning("Virtual machine's connection is closed: the kernel does not watch it, error ", Int(error.code))
        }
    }

    private func tellOfMemory(_ error: Errno) {
        guard error.code == 12 else {  // ENOMEM
            return log.warning("Virtual machine's connection is closed: its memory cannot be mapped, error ", Int(error.code))
        }
        log.warning(
            "Virtual machine's connection is closed: its memory cannot be mapped, see 'ulimit -v', vm.max_map_count and the container's limit of memory")
    }

    private func tellOfCapture(_ text: StaticString, _ error: Errno) {
        let path = options.captureFile ?? ""
        switch error.code {
        case 11: log.write(.warning, text, name: path, ": whoever reads it is too slow")  // EAGAIN, of a pipe
        case 27: log.write(.warning, text, name: path, ": it may not grow on, see 'ulimit -f' and LimitFSIZE= of systemd")  // EFBIG
        case 28: log.write(.warning, text, name: path, ": no space is left on its disk")  // ENOSPC
        case 32: log.write(.warning, text, name: path, ": nobody reads it any more")  // EPIPE
        case 122: log.write(.warning, text, name: path, ": the disk quota is used up")  // EDQUOT
        default: log.write(.warning, text, name: path, ": error ", Int(error.code))
        }
    }
}
