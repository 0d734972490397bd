import Linux
import Testing
import Wire

@testable import Datapath

/// A frame that went to the guest.
struct SentFrame {
    /// From the Ethernet header on.
    var bytes: [UInt8]
    var offload: VirtioNetHeader

    var isIPv4: Bool { bytes[12] == 0x08 }
    var l4: Int { isIPv4 ? 34 : 54 }
    var proto: UInt8 { isIPv4 ? bytes[23] : bytes[20] }
    var source: IPAddress { address(isIPv4 ? 26 : 22) }
    var destination: IPAddress { address(isIPv4 ? 30 : 38) }
    var sourcePort: UInt16 { word(l4) }
    var destinationPort: UInt16 { word(l4 + 2) }
    /// Without what pads a short frame.
    var end: Int { isIPv4 ? 14 + Int(word(16)) : 54 + Int(word(18)) }
    var udpPayload: [UInt8] { Array(bytes[(l4 + 8)..<end]) }
    /// What the guest cuts it into: a second opinion.
    var udpDatagrams: [[UInt8]] {
        let payload = udpPayload
        if payload.isEmpty { return [[]] }
        let size = offload.segmentation == .udp ? Int(offload.segmentSize) : payload.count
        return stride(from: 0, to: payload.count, by: size).map { Array(payload[$0..<min($0 + size, payload.count)]) }
    }
    var icmp: [UInt8] { Array(bytes[l4..<end]) }

    func word(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }

    private func address(_ offset: Int) -> IPAddress {
        if isIPv4 { return IPAddress(IPv4Address(UInt32(word(offset)) << 16 | UInt32(word(offset + 2)))) }
        var halves: [UInt64] = [0, 0]
        for index in 0..<16 { halves[index / 8] = halves[index / 8] << 8 | UInt64(bytes[offset + index]) }
        return IPAddress(IPv6Address(high: halves[0], low: halves[1]))
    }

    /// Ones' complement sum of the bytes in words, folded: 0xffff over what holds a right checksum. A second opinion, byte by byte.
    static func sum(_ bytes: [UInt8], from start: UInt32 = 0) -> UInt16 {
        var sum = start
        for (index, byte) in bytes.enumerated() {
            sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte)
            if sum > 0xffff { sum = (sum & 0xffff) + (sum >> 16) }
        }
        return UInt16(sum)
    }

    /// The sum over the pseudo-header and everything behind the IP header.
    var l4Sum: UInt16 {
        let addresses = isIPv4 ? Array(bytes[26..<34]) : Array(bytes[22..<54])
        let length = UInt32(end - l4)
        let start = UInt32(SentFrame.sum(addresses)) + UInt32(proto) + (length & 0xffff) + (length >> 16)
        return SentFrame.sum(Array(bytes[l4..<end]), from: (start & 0xffff) + (start >> 16))
    }
}

/// A link that keeps what is sent.
struct RecordingLink: GuestLink, ~Copyable {
    var descriptor: Descriptor { .none }
    var offloads: LinkOffloads
    var frames: [SentFrame] = []
    /// The answer to `send`; frames are kept only when it is `.sent`.
    var verdict = LinkVerdict.sent

    init(offloads: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation]) { self.offloads = offloads }

    mutating func receive(into batch: inout FrameBatch) -> Bool { true }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        guard case .sent = verdict else { return verdict }
        #expect(frame.offset >= linkHeadroom && frame.length >= 60)
        let span = arena.bytes
        var bytes: [UInt8] = []
        for offset in frame.offset..<(frame.offset + frame.length) { bytes.append(span.uint8(at: offset)) }
        frames.append(SentFrame(bytes: bytes, offload: frame.offload))
        return .sent
    }

    mutating func flush(_ arena: inout Mapping) {}
}
