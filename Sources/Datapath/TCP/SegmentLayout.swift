internal import Linux
internal import Wire

/// How data for the guest lies in slots before it is sent: where the kernel puts it, straight from the socket's queue.
///
///     super-frame   | headers | payload, whole segments, as many as an IP packet holds |
///     run           | headers | segment | gap | segment | gap | ...                    |
///
/// A link without offloads gets one segment in each frame. A link that makes segments itself gets bulk data in runs, with room for their headers,
/// so that nothing has to be gathered from pieces again.
struct SegmentLayout: BitwiseCopyable {
    /// Bytes that lie together.
    let size: Int
    /// Of these, so many in a slot.
    let count: Int
    let gap: Int
    /// From one slot to the next.
    let slotSize: Int
    let isRun: Bool
    /// From a slot's start to its payload.
    private let start: Int

    /// Payload of a full slot.
    var payload: Int { size * count }

    /// Slots that one call to the kernel fills.
    private static var burst: Int { 4 }
    /// Segments of a run: so many runs are half as many pieces as the kernel takes at a time. Kernels without a peek offset need some of the rest.
    private static var mostSegments: Int { 128 }

    init(_ connection: TCPConnection, _ offloads: LinkOffloads) {
        let guest = connection.key.guest
        let segment = Int(connection.segmentSize)
        start = SlotLayout.tcpPayload(guest)
        isRun = offloads.contains(.runs) && connection.events.contains(.bulk)
        guard isRun else {
            let most = 65535 - (start - linkHeadroom)
            size = offloads.contains(.tcpSegmentation) && most >= segment ? most / segment * segment : segment
            (count, gap, slotSize) = (1, 0, SlotLayout.size)
            return
        }
        // What the link puts before the first frame still belongs to the slot's first page.
        let room = SlotLayout.runSize - (linkHeadroom - StreamFraming.prefix)
        gap = SlotLayout.gap(guest)
        size = min(segment, room - gap)
        count = min(room / (size + gap), SegmentLayout.mostSegments)
        slotSize = SlotLayout.runSize
    }

    /// Slots that `limit` bytes need, and of these, how many bytes one call fills.
    func slotCount(_ limit: Int) -> Int { min((limit + payload - 1) / payload, SegmentLayout.burst) }
    func byteCount(_ limit: Int) -> Int { min(limit, SegmentLayout.burst * payload) }

    /// Adds the places of `byteCount` bytes to `list`, in order.
    func list(_ byteCount: Int, from slot: Int, of arena: borrowing Mapping, in list: inout ScatterList) {
        var left = byteCount
        var offset = slot + start
        while left > 0 {
            var position = offset
            for _ in 0..<count where left > 0 {
                _ = list.append(arena, offset: position, length: min(left, size))
                left -= size
                position += size + gap
            }
            offset += slotSize
        }
    }
}
