import Testing
import Wire

@testable import Datapath
@testable import Linux

@Suite struct SegmentLayoutTests {
    private static let guests = [IPAddress(IPv4Address("192.0.2.2")!), IPAddress(IPv6Address("2001:db8::2")!)]
    private static let sizes: [UInt16] = [88, 536, 1220, 1448, 1460, 8960, 65464, 65480, 65495]

    private func connection(_ guest: IPAddress, _ size: UInt16, bulk: Bool) -> TCPConnection {
        var connection = TCPConnection(key: FlowKey(guest: guest, guestPort: 40000, remote: guest, remotePort: 80), socket: .none)
        connection.segmentSize = size
        if bulk { connection.events.insert(.bulk) }
        return connection
    }

    @Test(arguments: guests, sizes)
    func aRunFitsIntoItsSlot(_ guest: IPAddress, _ size: UInt16) throws {
        let layout = SegmentLayout(connection(guest, size, bulk: true), [.checksum, .tcpSegmentation, .runs])
        #expect(layout.isRun && layout.count >= 1 && layout.slotSize == SlotLayout.runSize)
        let headers = 14 + (guest.isIPv4 ? 20 : 40) + 20
        #expect(layout.gap == headers + 4)
        // From the length of the first frame to the last byte: 16 pages at most.
        let end = linkHeadroom + headers + layout.count * (layout.size + layout.gap) - layout.gap
        #expect(end <= SlotLayout.runSize)
        #expect(layout.size == Int(size) || layout.count == 1 && layout.size < Int(size) && end == SlotLayout.runSize)
        #expect(layout.payload >= 10000)
        // As many pieces as fill four slots, each inside of its slot.
        var list = try ScatterList(capacity: 1024)
        let arena = try Mapping(byteCount: 4 * SlotLayout.runSize)
        layout.list(4 * layout.payload, from: 0, of: arena, in: &list)
        #expect(list.byteCount == 4 * layout.payload)
        #expect(list.count == 4 * layout.count)
    }

    @Test(arguments: guests, sizes)
    func withoutBulkOrRunsDataLiesTogether(_ guest: IPAddress, _ size: UInt16) throws {
        for (offloads, bulk) in [([.tcpSegmentation, .runs], false), ([.tcpSegmentation], true)] as [(LinkOffloads, Bool)] {
            let layout = SegmentLayout(connection(guest, size, bulk: bulk), offloads)
            #expect(!layout.isRun && layout.gap == 0 && layout.count == 1 && layout.slotSize == SlotLayout.size)
            #expect(layout.payload % Int(size) == 0 && layout.payload <= 65535)
        }
        #expect(SegmentLayout(connection(guest, size, bulk: true), .checksum).payload == Int(size))
    }

    /// The first look at a queue tells that there is much; from the second on, it comes in runs, and little ends that.
    /// While the guest still reads from all slots, what comes is copied: nothing waits for them.
    @Test(arguments: [true, false])
    func bulkDataComesInRuns(_ hasRuns: Bool) throws {
        var script = try TCPScript(offloads: TCPScript.allOffloads.union(.runs))
        script.port.link.hasRuns = hasRuns
        script.open()
        var sent = 0
        for (count, isBulk) in [(200, false), (60_000, true), (300_000, true), (100, false)] {
            script.arrive(count)
            script.runRound()
            var got: [UInt8] = []
            for _ in 0..<20 where got.count < count {
                got += script.takeSegments().flatMap(\.payload)
                script.guest("A", seq: 1, ack: sent + got.count + 1)
                script.runRound()
            }
            let isWhole = got == Array(Stream.toGuest[sent..<(sent + count)])
            #expect(isWhole)
            #expect(script.connection().events.contains(.bulk) == isBulk, "\(count)")
            sent += count
        }
    }
}
