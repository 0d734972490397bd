internal import Linux
internal import Wire

/// Frames of a guest that sends plain segments come in trains: each carries on where the one before it ended, with the same headers otherwise. Of a machine at
/// MTU 1500 these are nearly all frames of an upload. To see that a frame belongs to the train takes a few comparisons with the frame
/// before it, and saves taking its headers apart, looking its flow up and deciding once more what was decided for the one before.
enum SegmentTrain {
    /// Where the payload of `frame` lies in the arena, if its segment carries on that of `previous`, and every field that anything is decided by is the same.
    /// nil for all others, and for what is rare: options of IP and TCP, extension headers, flags other than ACK and PSH. Precondition: the payload of
    /// `previous` was taken whole, up to the frame's end.
    @_noAllocation @_noLocks
    static func payload(of frame: Frame, following previous: Frame, _ bytes: borrowing RawSpan) -> Range<Int>? {
        guard min(frame.length, previous.length) > ipv4Headers else { return nil }
        let (a, b) = (previous.offset, frame.offset)
        let kind = bytes.uint32(at: b &+ 12)
        // Both MAC addresses, EtherType, version and the first of what an IP header says of its traffic.
        guard isSame(bytes, a, b, 0), isSame(bytes, a, b, 8) else { return nil }
        if kind >> 8 == 0x080045 { return ipv4(frame, previous, bytes) }
        return kind >> 12 == 0x86dd6 ? ipv6(frame, previous, bytes) : nil
    }

    private static var ipv4Headers: Int { 14 &+ 20 &+ 20 }
    private static var ipv6Headers: Int { 14 &+ 40 &+ 20 }

    @_noAllocation @_noLocks
    private static func ipv4(_ frame: Frame, _ previous: Frame, _ bytes: borrowing RawSpan) -> Range<Int>? {
        let (a, b) = (previous.offset, frame.offset)
        // Not compared: length and identification, the header's checksum, the sequence number's first half.
        guard isSame(bytes, a, b, 16, 0x0000_0000_ffff_ffff), isSame(bytes, a, b, 24, 0x0000_ffff_ffff_ffff),
            isSame(bytes, a, b, 32, 0xffff_ffff_ffff_0000), bytes.uint8(at: b &+ 23) == 6,
            Int(bytes.uint16(at: b &+ 16)) &+ 14 == frame.length
        else { return nil }
        return tcp(frame, previous, bytes, headers: ipv4Headers)
    }

    @_noAllocation @_noLocks
    private static func ipv6(_ frame: Frame, _ previous: Frame, _ bytes: borrowing RawSpan) -> Range<Int>? {
        let (a, b) = (previous.offset, frame.offset)
        guard min(frame.length, previous.length) > ipv6Headers else { return nil }
        // Not compared: the payload's length.
        guard isSame(bytes, a, b, 16, 0xffff_0000_ffff_ffff), isSame(bytes, a, b, 24), isSame(bytes, a, b, 32), isSame(bytes, a, b, 40),
            isSame(bytes, a, b, 48), bytes.uint16(at: a &+ 56) == bytes.uint16(at: b &+ 56), bytes.uint8(at: b &+ 20) == 6,
            Int(bytes.uint16(at: b &+ 18)) &+ 54 == frame.length
        else { return nil }
        return tcp(frame, previous, bytes, headers: ipv6Headers)
    }

    @_noAllocation @_noLocks
    private static func tcp(_ frame: Frame, _ previous: Frame, _ bytes: borrowing RawSpan, headers: Int) -> Range<Int>? {
        let start = headers &- 20
        let (a, b) = (previous.offset &+ start, frame.offset &+ start)
        let sent = UInt32(truncatingIfNeeded: previous.length &- headers)
        // Data offset, flags and window; PSH means nothing here.
        let control = bytes.uint32(at: b &+ 12) & ~push
        guard bytes.uint32(at: b &+ 4) == bytes.uint32(at: a &+ 4) &+ sent, bytes.uint32(at: b &+ 8) == bytes.uint32(at: a &+ 8),
            control == bytes.uint32(at: a &+ 12) & ~push, control >> 16 == plain
        else { return nil }
        return frame.offset &+ headers..<frame.offset &+ frame.length
    }

    private static var push: UInt32 { 0x0008_0000 }
    /// A header without options, and ACK.
    private static var plain: UInt32 { 0x5010 }

    /// Whether the eight bytes at `offset` of both frames are the same where `mask` is set.
    @inline(__always) @_noAllocation @_noLocks
    private static func isSame(_ bytes: borrowing RawSpan, _ a: Int, _ b: Int, _ offset: Int, _ mask: UInt64 = .max) -> Bool {
        (bytes.uint64(at: a &+ offset) ^ bytes.uint64(at: b &+ offset)) & mask == 0
    }
}

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// True when frame `index` of the batch carries on the one before it, and was taken.
    mutating func takeTrain(_ index: Int) -> Bool {
        guard index > 0, tcp.pendingIndex >= 0 else { return false }
        let (previous, frame) = (inbound[index - 1], inbound[index])
        guard tcp.pendingEnd == previous.offset + previous.length,
            let payload = SegmentTrain.payload(of: frame, following: previous, inbound.arena.bytes), tcp.extendPending(payload, in: inbound.arena)
        else { return false }
        port.counters.add(.framesFromGuest)
        port.counters.add(.bytesFromGuest, frame.length)
        return true
    }
}
