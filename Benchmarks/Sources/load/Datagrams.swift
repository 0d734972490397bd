internal import CLoad
private import Histogram

/// A datagram begins with: kind, 7 bytes of nothing, the job's name, the datagram's number; each least significant byte first.
enum Datagram {
    static let data: UInt8 = 0xd1, pleaseSend: UInt8 = 0xd2, echo: UInt8 = 0xd3
    static let header = 24
    static let row = 9216

    static func make(_ kind: UInt8, id: UInt64, size: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(48, size))
        bytes[0] = kind
        put(id, &bytes, 8)
        return bytes
    }

    static func put(_ value: UInt64, _ bytes: inout [UInt8], _ offset: Int) {
        for shift in 0..<8 { bytes[offset + shift] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(shift))) }
    }

    static func get(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        var value: UInt64 = 0
        for shift in (0..<8).reversed() { value = value << 8 | UInt64(bytes[offset + shift]) }
        return value
    }

    /// Sends at `rate` datagrams per second, or as fast as it goes if that is 0. Returns how many went.
    static func flood(_ socket: Socket, id: UInt64, size: Int, rate: Int, nanoseconds: Int64, to address: Address? = nil) -> Int {
        var bytes = make(data, id: id, size: size)
        let start = load_now()
        var sent = 0
        while true {
            let passed = load_now() - start
            if passed >= nanoseconds { return sent }
            if rate > 0 {
                let due = Int(Double(passed) / 1e9 * Double(rate)) + 1
                if due <= sent {
                    load_sleep(100_000)
                    continue
                }
                sent += max(0, socket.sendBatch(&bytes, size: size, count: min(32, due - sent), first: UInt(sent), to: address))
            } else {
                sent += max(0, socket.sendBatch(&bytes, size: size, count: 32, first: UInt(sent), to: address))
            }
        }
    }
}

/// Counts datagrams of one job.
struct DatagramCount {
    var id: UInt64 = 0
    private var packets = 0, bytes = 0, highest: UInt64 = 0, reordered = 0
    private var first: Int64 = 0, last: Int64 = 0

    mutating func add(_ rows: [UInt8], at offset: Int, length: Int, now: Int64) {
        let number = Datagram.get(rows, offset + 16)
        if packets == 0 { first = now }
        if number < highest { reordered += 1 }
        highest = max(highest, number)
        packets += 1
        bytes += length
        last = now
    }

    var describe: Line {
        var line = Line()
        line.add("received", packets)
        line.add("received_bytes", bytes)
        line.add("out_of_order", reordered)
        line.add("packets_per_second", last > first ? Double(packets) * 1e9 / Double(last - first) : 0)
        return line
    }
}

/// The server's UDP side: counts, echoes, and floods who asks for it.
struct DatagramServer: Sendable {
    private let socket: Socket
    private let reports: Reports

    init(_ socket: Socket, _ reports: Reports) {
        (self.socket, self.reports) = (socket, reports)
        socket.set(SOL_SOCKET, SO_RCVBUF, 4 << 20)
    }

    func run() {
        var rows = [UInt8](repeating: 0, count: 64 * Datagram.row)
        var lengths = [UInt32](repeating: 0, count: 64)
        var peer = Address()
        var count = DatagramCount()
        socket.setTimeout(milliseconds: 100)
        var isOpen = false
        while true {
            let received = socket.receiveBatch(&rows, row: Datagram.row, lengths: &lengths, from: &peer)
            if received <= 0 {
                // Quiet for a tenth of a second: the job is over.
                if isOpen { reports.put(count.id, count.describe) }
                isOpen = false
                continue
            }
            let now = load_now()
            for index in 0..<received where Int(lengths[index]) >= Datagram.header {
                let offset = index * Datagram.row, length = Int(lengths[index])
                switch rows[offset] {
                case Datagram.data:
                    let id = Datagram.get(rows, offset + 8)
                    if id != count.id {
                        count = DatagramCount()
                        count.id = id
                    }
                    count.add(rows, at: offset, length: length, now: now)
                    isOpen = true
                case Datagram.echo: socket.send(Array(rows[offset..<(offset + length)]), count: length, to: peer)
                case Datagram.pleaseSend: flood(Array(rows[offset..<(offset + length)]), to: peer)
                default: break
                }
            }
        }
    }

    private func flood(_ request: [UInt8], to peer: Address) {
        guard request.count >= 48 else { return }
        let size = Int(clamping: Datagram.get(request, 24)), rate = Int(clamping: Datagram.get(request, 32))
        let time = Int64(clamping: Datagram.get(request, 40)), socket = socket
        guard size >= Datagram.header, size < Datagram.row, time < 600_000_000_000 else { return }
        Worker { _ = Datagram.flood(socket, id: 0, size: size, rate: rate, nanoseconds: time, to: peer) }.detach()
    }
}

/// The client's UDP side.
enum DatagramClient {
    static func up(_ to: Address, size: Int, rate: Int, nanoseconds: Int64, id: UInt64) -> Line? {
        guard let socket = Socket.udp(to: to) else { return nil }
        let sent = Datagram.flood(socket, id: id, size: size, rate: rate, nanoseconds: nanoseconds)
        load_sleep(400_000_000)
        var line = Line()
        line.add("sent", sent)
        line.add("receiver", raw: BulkClient.report(to, id: id))
        return line
    }

    static func down(_ to: Address, size: Int, rate: Int, nanoseconds: Int64) -> Line? {
        guard let socket = Socket.udp(to: to) else { return nil }
        socket.set(SOL_SOCKET, SO_RCVBUF, 4 << 20)
        socket.setTimeout(milliseconds: 500)
        var request = Datagram.make(Datagram.pleaseSend, id: 0, size: 48)
        Datagram.put(UInt64(size), &request, 24)
        Datagram.put(UInt64(rate), &request, 32)
        Datagram.put(UInt64(nanoseconds), &request, 40)
        var rows = [UInt8](repeating: 0, count: 64 * Datagram.row)
        var lengths = [UInt32](repeating: 0, count: 64)
        var peer = Address(), count = DatagramCount()
        _ = socket.send(request, count: 48)
        while true {
            let received = socket.receiveBatch(&rows, row: Datagram.row, lengths: &lengths, from: &peer)
            if received <= 0 { break }
            let now = load_now()
            for index in 0..<received { count.add(rows, at: index * Datagram.row, length: Int(lengths[index]), now: now) }
        }
        return count.describe
    }

    /// One datagram there and back after the other; what does not come back in 200 ms is lost.
    static func exchange(_ to: Address, size: Int, nanoseconds: Int64, count: Int) -> Line? {
        guard let socket = Socket.udp(to: to) else { return nil }
        socket.setTimeout(milliseconds: 200)
        let size = max(Datagram.header, size)
        let bytes = Datagram.make(Datagram.echo, id: 0, size: size)
        var reply = [UInt8](repeating: 0, count: 65536)
        var latencies = Latencies(), lost = 0
        let start = load_now()
        while latencies.count + lost < count, load_now() - start < nanoseconds {
            let before = load_now()
            guard socket.send(bytes, count: size) == size, socket.receive(&reply) == size else {
                lost += 1
                continue
            }
            latencies.add(load_now() - before)
        }
        var line = latencies.describe(load_now() - start)
        line.add("lost", lost)
        return line
    }
}
