internal import Linux

/// The system's log, spoken to directly: one datagram per line, opened while `/dev/log` can still be seen. The C library's
/// syslog() allocates and opens files when it likes.
struct SystemLog: Sendable {
    let socket: Descriptor
    let program: String
    /// Local time is ahead of UTC by this many seconds. Receivers put their own time anyway.
    let localOffset: Int

    /// Nil when there is no system log.
    init?(program: String) {
        guard let socket = try? DatagramSocket.connect(to: "/dev/log") else { return nil }
        self.socket = socket
        self.program = program
        localOffset = Int(Timer.localOffset)
    }

    /// RFC 3164 section 4.1: `<facility * 8 + severity>Mmm dd hh:mm:ss tag[pid]: text`, without a host name, as local senders do. (sendto)
    func write(severity: Int, processID: Int32, _ text: borrowing LineBuffer) {
        var line = LineBuffer()
        SystemLog.format(
            severity: severity, time: CivilTime(seconds: Int(Timer.realTime / 1_000_000_000) + localOffset), program: program,
            processID: processID, text, into: &line)
        line.withBytes { DatagramSocket.send($0, over: socket) }
    }

    static func format(
        severity: Int, time: CivilTime, program: String, processID: Int32, _ text: borrowing LineBuffer, into line: inout LineBuffer
    ) {
        let daemonFacility = 3
        line.append(UInt8(ascii: "<"))
        line.append(daemonFacility * 8 + severity)
        line.append(UInt8(ascii: ">"))
        line.append(time.monthName)
        line.append(time.day < 10 ? "  " : " ")
        line.append(time.day)
        line.append(UInt8(ascii: " "))
        line.append(time.hour, width: 2)
        line.append(UInt8(ascii: ":"))
        line.append(time.minute, width: 2)
        line.append(UInt8(ascii: ":"))
        line.append(time.second, width: 2)
        line.append(UInt8(ascii: " "))
        line.append(program)
        line.append(UInt8(ascii: "["))
        line.append(Int(processID))
        line.append("]: ")
        line.append(text)
    }
}
