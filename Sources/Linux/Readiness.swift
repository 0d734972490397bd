internal import CLinux

extension Descriptor {
    /// Waits until it can be read from without waiting, or its other end is gone. False when that has not come in time.
    public func awaitInput(milliseconds: Int32) -> Bool { awaits(Int16(POLLIN), milliseconds) }

    /// Waits until it can be written to without waiting (a pipe: up to 4096 bytes, PIPE_BUF), or its other end is gone.
    public func awaitOutput(milliseconds: Int32) -> Bool { awaits(Int16(POLLOUT), milliseconds) }

    /// Waits for what hardly ever comes, urgent data.
    public func awaitPriorityInput(milliseconds: Int32) -> Bool { awaits(Int16(POLLPRI), milliseconds) }

    /// Whether its other end is gone, although there may be something left to read.
    public var hasHungUp: Bool { awaits(0, 0) }

    private func awaits(_ events: Int16, _ milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: number, events: events, revents: 0)
        // SAFETY: one entry, which the kernel reads and writes during the call.
        return restarting { Int(unsafe poll(&entry, 1, milliseconds)) < 0 ? -Int(linux_errno()) : Int(entry.revents) } > 0
    }
}

extension SystemCall {
    /// Asking a descriptor what it is ready for.
    public static var polling: [Permission] { [Permission(.poll), Permission(.restart)] }
}
