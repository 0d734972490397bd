internal import CLinux
internal import Wire

/// One of /proc/net/tcp, tcp6, udp and udp6: a line for each socket in whatever state, hence slow where there are many. It is read anew from the start
/// each time, and stays that of the namespace in which it was opened.
struct SocketTable {
    private let file: Descriptor

    static func open(isTCP: Bool, isIPv4: Bool) throws(Errno) -> Descriptor {
        try Descriptor.open("/proc/net/" + (isTCP ? "tcp" : "udp") + (isIPv4 ? "" : "6"), O_RDONLY)
    }

    init(_ file: Descriptor) { self.file = file }

    func forEach(isTCP: Bool, buffer: inout Mapping, _ note: (BoundSocket) -> Void) throws(Errno) {
        var offset = 0
        // Bytes at the buffer's start that belong to an unfinished line.
        var rest = 0
        while true {
            let size = buffer.byteCount
            let count = try read(into: &buffer, from: rest, at: offset)
            if count == 0 { return }
            offset += count
            let end = rest + count
            let used = SocketTable.read(buffer.bytes.extracting(0..<end), isTCP: isTCP, note)
            rest = end - used
            // A line that fills all of the buffer is none of the kernel's.
            if rest == size { rest = 0 }
            var bytes = buffer.mutableBytes
            for position in 0..<rest { bytes.store(bytes.uint8(at: used + position), at: position) }
        }
    }

    private func read(into buffer: inout Mapping, from start: Int, at offset: Int) throws(Errno) -> Int {
        let size = buffer.byteCount
        var bytes = buffer.mutableBytes
        var free = bytes._mutatingExtracting(start..<size)
        return try file.read(into: &free, at: offset)
    }

    /// Passes on what whole lines hold, and returns where the first unfinished one begins.
    static func read(_ bytes: borrowing RawSpan, isTCP: Bool, _ note: (BoundSocket) -> Void) -> Int {
        let count = bytes.byteCount
        var start = 0
        var position = 0
        while position < count {
            if bytes.uint8(at: position) == UInt8(ascii: "\n") {
                if let socket = BoundSocket(line: bytes.extracting(start..<position), isTCP: isTCP) { note(socket) }
                start = position + 1
            }
            position += 1
        }
        return start
    }
}

extension BoundSocket {
    /// `  12: 0100007F:1F90 00000000:0000 0A ...`: number, own and other endpoint, state. nil for another state, and for the headline. What is not
    /// in it is taken as usual: all interfaces, and IPv4 as well.
    @_noAllocation @_noLocks
    init?(line: borrowing RawSpan, isTCP: Bool) {
        var position = 0
        BoundSocket.skipSpaces(line, &position)
        while position < line.byteCount, line.uint8(at: position) != UInt8(ascii: ":") { position += 1 }
        position += 1
        BoundSocket.skipSpaces(line, &position)
        guard let own = BoundSocket.endpoint(line, &position) else { return nil }
        BoundSocket.skipSpaces(line, &position)
        guard BoundSocket.endpoint(line, &position) != nil else { return nil }
        BoundSocket.skipSpaces(line, &position)
        // TCP_LISTEN, TCP_CLOSE.
        guard let state = BoundSocket.hexadecimal(line, &position, digits: 2), state == (isTCP ? 0x0a : 0x07), own.port != 0 else { return nil }
        self.init(address: own.address, port: own.port, servesBoth: !own.address.isIPv4 && own.address.isAny)
    }

    @_noAllocation @_noLocks
    private static func skipSpaces(_ line: borrowing RawSpan, _ position: inout Int) {
        while position < line.byteCount, line.uint8(at: position) == UInt8(ascii: " ") { position += 1 }
    }

    /// An address is one word or four, each printed as the machine holds it, which is little-endian; the port is printed as a number.
    @_noAllocation @_noLocks
    private static func endpoint(_ line: borrowing RawSpan, _ position: inout Int) -> Endpoint? {
        guard let first = hexadecimal(line, &position, digits: 8) else { return nil }
        var address = IPAddress(IPv4Address(first.byteSwapped))
        if position < line.byteCount, line.uint8(at: position) != UInt8(ascii: ":") {
            guard let second = hexadecimal(line, &position, digits: 8), let third = hexadecimal(line, &position, digits: 8),
                let fourth = hexadecimal(line, &position, digits: 8)
            else { return nil }
            address = IPAddress(IPv6Address(
                high: UInt64(first.byteSwapped) << 32 | UInt64(second.byteSwapped), low: UInt64(third.byteSwapped) << 32 | UInt64(fourth.byteSwapped)))
        }
        guard position < line.byteCount, line.uint8(at: position) == UInt8(ascii: ":") else { return nil }
        position += 1
        guard let port = hexadecimal(line, &position, digits: 4) else { return nil }
        return Endpoint(address, UInt16(truncatingIfNeeded: port))
    }

    @_noAllocation @_noLocks
    private static func hexadecimal(_ line: borrowing RawSpan, _ position: inout Int, digits: Int) -> UInt32? {
        guard line.has(digits, at: position) else { return nil }
        var value: UInt32 = 0
        for offset in position..<position + digits {
            let digit = line.uint8(at: offset)
            switch digit {
            case 48...57: value = value << 4 | UInt32(digit - 48)
            case 65...70: value = value << 4 | UInt32(digit - 55)
            default: return nil
            }
        }
        position += digits
        return value
    }
}
