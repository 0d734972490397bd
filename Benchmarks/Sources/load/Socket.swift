internal import CLoad

/// A socket and the calls this program makes on it; the only file that passes pointers to the system.
struct Socket: Sendable {
    let number: Int32

    var isOpen: Bool { number >= 0 }

    static func tcp(to address: Address, congestion: UInt8 = 0) -> Socket? {
        let socket = Socket(number: load_socket(address.family, Int32(SOCK_STREAM.rawValue)))
        guard socket.isOpen else { return nil }
        socket.setCongestion(congestion)
        // SAFETY: the address lives as long as the call.
        guard (unsafe withUnsafePointer(to: address.raw) { unsafe load_connect(socket.number, $0) }) == 0 else {
            socket.close()
            return nil
        }
        return socket
    }

    static func udp(to address: Address) -> Socket? {
        let socket = Socket(number: load_socket(address.family, Int32(SOCK_DGRAM.rawValue)))
        // SAFETY: the address lives as long as the call.
        guard socket.isOpen, (unsafe withUnsafePointer(to: address.raw) { unsafe load_connect(socket.number, $0) }) == 0 else { return nil }
        return socket
    }

    /// A bound socket, listening if it is TCP.
    static func bound(_ type: __socket_type, _ address: Address) -> Socket? {
        let socket = Socket(number: load_socket(address.family, Int32(type.rawValue)))
        guard socket.isOpen else { return nil }
        socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        if address.family == AF_INET6 { socket.set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        // SAFETY: the address lives as long as the call.
        guard (unsafe withUnsafePointer(to: address.raw) { unsafe load_bind(socket.number, $0) }) == 0 else { return nil }
        if type == SOCK_STREAM, listen(socket.number, 4096) != 0 { return nil }
        return socket
    }

    func set(_ level: Int32, _ name: Int32, _ value: Int32) { _ = load_set(number, level, name, value) }
    func setNoDelay() { set(Int32(IPPROTO_TCP), TCP_NODELAY, 1) }
    func setBlocking() { _ = load_blocking(number, 1) }
    func setTimeout(milliseconds: Int32) { _ = load_timeout(number, milliseconds) }
    func endSending() { _ = shutdown(number, Int32(SHUT_WR)) }
    func abort() {
        _ = load_linger(number)
        close()
    }

    func close() { _ = CLoad.close(number) }

    func setCongestion(_ congestion: UInt8) {
        // SAFETY: the string lives as long as the call.
        if congestion > 0 { _ = unsafe load_congestion(number, Request.names[Int(congestion)]) }
    }

    /// What went, or a negative error number.
    func send(_ bytes: [UInt8], from offset: Int = 0, count: Int) -> Int {
        guard offset >= 0, count >= 0, offset + count <= bytes.count else { return -Int(EINVAL) }
        // SAFETY: the range lies in the array.
        return unsafe bytes.withUnsafeBytes { unsafe load_send(number, $0.baseAddress.map { unsafe $0 + offset }, count) }
    }

    func sendAll(_ bytes: [UInt8], count: Int) -> Bool {
        var done = 0
        while done < count {
            let sent = send(bytes, from: done, count: count - done)
            if sent <= 0 { return false }
            done += sent
        }
        return true
    }

    /// What came, 0 at the end, or a negative error number.
    func receive(_ bytes: inout [UInt8], at offset: Int = 0, count: Int? = nil, flags: Int32 = 0) -> Int {
        let count = count ?? bytes.count - offset
        guard offset >= 0, count >= 0, offset + count <= bytes.count else { return -Int(EINVAL) }
        // SAFETY: the range lies in the array.
        return unsafe bytes.withUnsafeMutableBytes { unsafe load_recv(number, $0.baseAddress.map { unsafe $0 + offset }, count, flags) }
    }

    func receiveAll(_ bytes: inout [UInt8], count: Int) -> Bool {
        var done = 0
        while done < count {
            let got = receive(&bytes, at: done, count: count - done)
            if got <= 0 { return false }
            done += got
        }
        return true
    }

    /// Numbered datagrams of `size` bytes from `bytes`. See `Datagram`.
    func sendBatch(_ bytes: inout [UInt8], size: Int, count: Int, first: UInt, to address: Address? = nil) -> Int {
        guard size <= bytes.count else { return 0 }
        // SAFETY: the shim reads `size` bytes of the array and the address during the call.
        return unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            guard let address else { return Int(unsafe load_send_batch(number, buffer.baseAddress, size, UInt32(count), first, nil)) }
            return unsafe withUnsafePointer(to: address.raw) {
                Int(unsafe load_send_batch(number, buffer.baseAddress, size, UInt32(count), first, $0))
            }
        }
    }

    /// Datagrams into 64 rows of `row` bytes.
    func receiveBatch(_ rows: inout [UInt8], row: Int, lengths: inout [UInt32], from address: inout Address) -> Int {
        guard rows.count >= 64 * row, lengths.count >= 64 else { return 0 }
        // SAFETY: the arrays hold 64 rows and lengths, as checked.
        return Int(unsafe load_receive_batch(number, &rows, row, &lengths, &address.raw))
    }

    func send(_ bytes: [UInt8], count: Int, to address: Address) {
        // SAFETY: the array and the address live as long as the call.
        _ = unsafe withUnsafePointer(to: address.raw) { unsafe load_send_to(number, bytes, min(count, bytes.count), $0) }
    }

    var information: load_information { load_inform(number) }
}

/// Where to.
struct Address: @unchecked Sendable {
    fileprivate var raw = load_address()

    init() {}

    init?(_ text: String, port: Int) {
        // SAFETY: the string and the value live as long as the call.
        guard unsafe load_parse_address(text, UInt16(truncatingIfNeeded: port), &raw) == 0 else { return nil }
    }

    var family: Int32 { Int32(raw.storage.ss_family) }
}

/// A thread that runs `body` and can be waited for.
struct Worker {
    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        // SAFETY: the box is retained here and released by the thread, which runs once.
        let box = unsafe Unmanaged.passRetained(Box(body)).toOpaque()
        let failed = unsafe pthread_create(&thread, nil, { argument in
            if let argument = unsafe argument { unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
            return nil
        }, box)
        precondition(failed == 0, "no thread")
    }

    func wait() { pthread_join(thread, nil) }
    func detach() { pthread_detach(thread) }
}
