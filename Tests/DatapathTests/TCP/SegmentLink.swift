import Testing
import Wire

@testable import Datapath
@testable import Linux

/// What the guest was sent: a segment, or an ICMP message (`header` is nil then).
struct SeenSegment {
    var time: Int64
    var header: TCPHeader?
    var payload: [UInt8] = []
    /// Bytes per segment where the frame is to be cut, else 0.
    var segmentSize = 0
    var icmpType: UInt8 = 0
    var icmpCode: UInt8 = 0

    var guestPort: UInt16 { header?.destinationPort ?? 0 }
    var flags: TCPFlags { header?.flags ?? [] }
    var window: Int { Int(header?.window ?? 0) }
}

/// A link that takes apart what is sent.
struct SegmentLink: GuestLink, ~Copyable {
    var descriptor: Descriptor { .none }
    var offloads: LinkOffloads
    var seen: [SeenSegment] = []
    var now: Int64 = 0
    /// So many of the next frames are not taken.
    var refusals = 0
    /// The machine stands still: nothing is taken.
    var isStopped = false
    var hasRoom: Bool { !isStopped }
    var flushes = 0
    /// Whether there are slots for runs now.
    var hasRuns = true
    private var nextRun = 0

    init(offloads: LinkOffloads) { self.offloads = offloads }

    mutating func receive(into batch: inout FrameBatch) -> Bool { true }

    mutating func reserveRun(_ count: Int, _ arena: inout Mapping) -> Int? {
        if !hasRuns { return nil }
        if nextRun + count > LentSlots.count { nextRun = 0 }
        nextRun += count
        return nextRun - count
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        if isStopped { return .refused }
        if refusals > 0 {
            refusals -= 1
            return .full
        }
        let bytes = arena.bytes
        let ip = frame.offset + 14
        let isIPv4 = bytes.uint16(at: frame.offset + 12) == 0x0800
        let start = ip + (isIPv4 ? 20 : 40)
        let end = isIPv4 ? ip + Int(bytes.uint16(at: ip + 2)) : start + Int(bytes.uint16(at: ip + 4))
        #expect(end <= frame.offset + frame.length)
        #expect(frame.gap == 0 || frame.offset >= SlotLayout.runs && Int(frame.gap) == SlotLayout.gap(isIPv4 ? TCPScript.guest : IPAddress(IPv6Address.any)))
        var segment = SeenSegment(time: now)
        if bytes.uint8(at: isIPv4 ? ip + 9 : ip + 6) != 6 {
            segment.icmpType = bytes.uint8(at: start)
            segment.icmpCode = bytes.uint8(at: start + 1)
        } else if let header = TCPHeader(bytes, at: start, end: end) {
            segment.header = header
            segment.segmentSize = frame.offload.segmentation == .none ? 0 : Int(frame.offload.segmentSize)
            var (left, position) = (header.payload.count, header.payload.lowerBound)
            while left > 0 {
                let length = frame.gap > 0 ? min(left, segment.segmentSize) : left
                // SAFETY: the range lies in the frame, as is checked below, and in the arena, as the slice checks.
                unsafe bytes.withUnsafeBytes { all in
                    unsafe segment.payload.append(contentsOf: UnsafeRawBufferPointer(rebasing: all[position..<position + length]))
                }
                left -= length
                position += length
                if left > 0 { position += Int(frame.gap) }
            }
            #expect(frame.gap == 0 ? position <= frame.offset + frame.length : position == frame.offset + frame.length)
        } else {
            Issue.record("not a segment")
        }
        seen.append(segment)
        return .sent
    }

    mutating func flush(_ arena: inout Mapping) { flushes += 1 }
}
