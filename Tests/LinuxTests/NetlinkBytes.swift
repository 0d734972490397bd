@testable import Linux
import Wire

/// Bytes of messages as the kernel lays them out on little-endian machines, which are all that we build for.
func le16(_ value: Int) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8 & 255)] }
func le32(_ value: Int) -> [UInt8] { le16(value & 0xffff) + le16(value >> 16 & 0xffff) }

/// `struct rtattr` and its payload, padded.
func attribute(_ type: Int, _ payload: [UInt8]) -> [UInt8] {
    let padding = [UInt8](repeating: 0, count: (4 - payload.count % 4) % 4)
    return le16(payload.count + 4) + le16(type) + payload + padding
}

/// `struct nlmsghdr` and its payload.
func message(_ type: Int, flags: Int = 0, sequence: Int = 7, port: Int = 99, _ payload: [UInt8]) -> [UInt8] {
    le32(payload.count + 16) + le16(type) + le16(flags) + le32(sequence) + le32(port) + payload
}

func address(_ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32) -> IPAddress { IPAddress(IPv4Address(a << 24 | b << 16 | c << 8 | d)) }
func address6(_ high: UInt64, _ low: UInt64) -> IPAddress { IPAddress(IPv6Address(high: high, low: low)) }

/// Everything that `parse` finds in a datagram, with the state of the reply.
func read<Value>(
    _ datagram: [UInt8], sequence: UInt32 = 7, port: UInt32 = 99, _ parse: (borrowing RawSpan, NetlinkHeader) -> Value?
) -> (values: [Value], reply: NetlinkReply) {
    var reply = NetlinkReply(sequence: sequence, port: port)
    var values: [Value] = []
    reply.read(datagram[...], into: &values, parse)
    return (values, reply)
}
