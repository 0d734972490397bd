import Foundation
import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

@Suite struct SpliceTransferTests {
    private static let pattern: [UInt8] = (0..<(8 << 20)).map { UInt8(truncatingIfNeeded: $0 ^ ($0 >> 8) ^ ($0 >> 16)) }

    /// Sends all of `bytes` from one end to the other, reading at the far end whenever nothing moves any more.
    private func transfer(_ bytes: [UInt8], from sender: Descriptor, to receiver: Descriptor, _ lab: inout SpliceLab) -> [UInt8] {
        var received: [UInt8] = []
        var sent = 0
        for _ in 0..<10_000 where received.count < bytes.count {
            while sent < bytes.count {
                let count = sender.sendSome(bytes[sent...])
                if count <= 0 { break }
                sent += count
                lab.run()
            }
            lab.run()
            received += receiver.receiveSome().bytes
        }
        return received
    }

    @Test func lesson28_nothingIsLeftInThePipe() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        #expect(transfer(Self.pattern, from: client, to: server, &lab) == Self.pattern)
        #expect(transfer(Self.pattern, from: server, to: client, &lab) == Self.pattern)
        for socket in [client, server] { try socket.shutdown(1) }
        lab.run()
        #expect(server.receiveSome().isEnd && client.receiveSome().isEnd)
        let count = lab.transfer.table.count
        #expect(count == 0)
        client.close()
        server.close()
    }

    /// Many small pieces take one slot of the pipe each, so that it is full long before it holds much.
    @Test func lesson28_smallPiecesArriveInOrder() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let bytes = Array(Self.pattern[0..<5000])
        for byte in bytes { #expect(client.sendSome([byte]) == 1) }
        lab.run()
        #expect(server.receiveSome().bytes == bytes)
        client.close()
        server.close()
        lab.run()
    }

    /// splice(2) never gets past urgent data, and behind it takes an end for the end of everything.
    @Test(arguments: [true, false]) func urgentDataIsPartOfTheStream(_ ends: Bool) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        for (sender, receiver) in [(client, server), (server, client)] {
            let bytes = Array(Self.pattern[0..<30_000])
            for start in stride(from: 0, to: 30_000, by: 1000) {
                #expect(sender.sendSome(bytes[start..<(start + 1000)], flags: start % 3000 == 0 ? 1 : 0) == 1000)  // MSG_OOB
                if start % 5000 == 0 { lab.run() }
            }
            if ends { try sender.shutdown(1) }
            lab.run()
            let received = receiver.receiveSome()
            #expect(received.bytes == bytes && received.isEnd == ends)
        }
        client.close()
        server.close()
        lab.run()
    }

    /// A receiver that takes nothing: no event repeats, and nothing is left to do.
    @Test func lesson29_blockedOutputWakesNobody() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        var sent = 0
        for _ in 0..<1000 {
            let count = client.sendSome(Self.pattern[0...])
            if count > 0 { sent += count }
            lab.run()
        }
        #expect(sent > 100_000)
        var events = 0
        for _ in 0..<100 { events += lab.run() }
        #expect(events == 0)
        let hasMore = lab.transfer.hasMore
        #expect(!hasMore)
        // And it goes on where it stopped.
        var received = 0
        for _ in 0..<10_000 where received < sent {
            received += server.receiveSome().bytes.count
            lab.run()
        }
        #expect(received == sent)
        client.close()
        server.close()
        lab.run()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// Data and the end of it, at once and both ways.
    @Test(arguments: [0, 1, 100, 200_000])
    func lesson30_dataBeforeTheEndArrives(_ length: Int) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let data = Array(Self.pattern[0..<length])
        for side in [client, server] {
            #expect(side.sendSome(data[...]) == length)
            try side.shutdown(1)
        }
        var (question, answer): ([UInt8], [UInt8]) = ([], [])
        for _ in 0..<10_000 where question.count < length || answer.count < length {
            lab.run()
            question += server.receiveSome().bytes
            answer += client.receiveSome().bytes
        }
        lab.run()
        #expect(question == data && answer == data)
        #expect(server.receiveSome().isEnd && client.receiveSome().isEnd)
        client.close()
        server.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// The server is gone before it has read anything, which resets its connection: its answer has arrived here by then, and so reaches the client.
    @Test(arguments: [0, 1, 100])
    func lesson30_theAnswerOfAServerThatReadsNothingArrives(_ length: Int) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let data = Array(Self.pattern[0..<length])
        #expect(client.sendSome(data[...]) == length)
        try client.shutdown(1)
        #expect(server.sendSome(data[...]) == length)
        server.close()
        lab.run()
        #expect(client.receiveSome().bytes == data)
        client.close()
        lab.run()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    @Test(arguments: [1, 100, 200_000])
    func lesson30_closedRightAfterSending(_ length: Int) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        #expect(client.sendSome(Self.pattern[0..<length]) == length)
        client.close()
        lab.run()
        let received = server.receiveSome()
        #expect(received.bytes == Array(Self.pattern[0..<length]) && received.isEnd)
        server.close()
        lab.run()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// The server has heard enough: its answer arrives, and behind it the reset, although what the client sends fails first.
    @Test func lesson30_anEarlyAnswerIsReadBehindAFullUpload() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        for _ in 0..<100 {
            _ = client.sendSome(Self.pattern[0...])
            lab.run()
        }
        #expect(server.sendSome(Self.pattern[0..<1000]) == 1000)
        server.close()
        lab.run()
        let answer = client.receiveSome()
        #expect(answer.bytes == Array(Self.pattern[0..<1000]) && answer.error == ECONNRESET)
        client.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// The client's data is told of first, and meets the reset: nobody has looked at the answer by then.
    @Test func lesson30_anEarlyAnswerIsReadBehindAnUploadThatIsToldOfFirst() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        #expect(client.sendSome(Self.pattern[0..<10]) == 10)
        lab.run()
        #expect(client.sendSome(Self.pattern[0..<50_000]) == 50_000)
        #expect(server.sendSome(Self.pattern[0..<1000]) == 1000)
        // Ten bytes were not read.
        server.close()
        lab.run()
        let answer = client.receiveSome()
        #expect(answer.bytes == Array(Self.pattern[0..<1000]) && answer.error == ECONNRESET)
        client.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// The same with an answer that a slow client has not taken yet when the reset comes: it is still in the pipe, and in the queue of the server's side.
    @Test func lesson30_aSlowClientReadsAllOfAnEarlyAnswer() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        #expect(client.sendSome(Self.pattern[0..<10]) == 10)
        lab.run()
        var sent = 0
        var isFull = false
        while !isFull {
            sent += server.sendSome(Self.pattern[0..<20_000])
            lab.run()
            isFull = lab.transfer.table[0].back.held > 0
            try #require(sent < 100 << 20)
        }
        sent += server.sendSome(Self.pattern[0..<20_000])
        // Ten bytes were not read.
        server.close()
        lab.run()
        var received = 0
        var error: Int32 = 0
        for _ in 0..<10_000 where error == 0 {
            let part = client.receiveSome()
            received += part.bytes.count
            error = part.error
            lab.run()
        }
        #expect(received == sent && error == ECONNRESET)
        client.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// A client that has nothing to say ends its side before the other connection is there.
    @Test func halfCloseBeforeTheOtherSideIsConnected() throws {
        var lab = try SpliceLab()
        let service = try Descriptor.socket(.stream, for: SpliceLab.loopback)
        try service.bind(SocketAddress(Endpoint(SpliceLab.loopback, 0)))
        #expect(listen(service.number, 0) == 0)
        let address = try service.localAddress()
        // With one connection that nobody has accepted, the next SYN is dropped, and comes again after a second.
        let first = try Descriptor.socket(.stream, for: SpliceLab.loopback)
        _ = try first.connect(address)
        let (client, near) = try lab.accept()
        let far = try Descriptor.socket(.stream, for: SpliceLab.loopback)
        try lab.transfer.open(near: near, far: far, to: address, &lab.counters)
        try client.shutdown(1)
        lab.run()
        #expect(client.receiveSome().error == 0)
        let (one, _) = try #require(try service.accept())
        var server = Descriptor.none
        for _ in 0..<300 where !server.isOpen {
            usleep(10_000)
            lab.run()
            if let (other, _) = try service.accept() { server = other }
        }
        try #require(server.isOpen)
        #expect(server.sendSome([1, 2, 3]) == 3)
        lab.run()
        #expect(server.receiveSome().isEnd)
        #expect(client.receiveSome().bytes == [1, 2, 3])
        for socket in [one, first, client, server, service] { socket.close() }
    }

    @Test func lesson30_connectThatFailsAtOnceIsOrdinary() throws {
        var lab = try SpliceLab()
        let (client, near) = try lab.accept()
        let far = try Descriptor.socket(.stream, for: SpliceLab.loopback)
        // A TCP connection to a group cannot be.
        let group = SocketAddress(Endpoint(IPAddress(IPv4Address(0xe000_0001)), 80))
        var error: Errno?
        do throws(Errno) { try lab.transfer.open(near: near, far: far, to: group, &lab.counters) } catch let problem { error = problem }
        #expect(error != nil)
        let count = lab.transfer.table.count
        #expect(count == 0)
        for socket in [client, near, far] {
            #expect(socket.isInUse)
            socket.close()
        }
    }

    @Test func halfCloseGoesThrough() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        #expect(client.sendSome([1, 2, 3]) == 3)
        try client.shutdown(1)
        lab.run()
        let question = server.receiveSome()
        #expect(question.bytes == [1, 2, 3] && question.isEnd)
        #expect(transfer(Array(Self.pattern[0..<300_000]), from: server, to: client, &lab) == Array(Self.pattern[0..<300_000]))
        server.close()
        lab.run()
        #expect(client.receiveSome().isEnd)
        client.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    @Test(arguments: [false, true])
    func lesson24_abortsAreSeenAsAborts(_ byServer: Bool) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let (one, other) = byServer ? (server, client) : (client, server)
        #expect(one.sendSome([7]) == 1)
        lab.run()
        #expect(other.receiveSome().bytes == [7])
        try one.setAbortOnClose()
        one.close()
        lab.run()
        #expect(other.receiveSome().error == ECONNRESET)
        other.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// Data and the reset behind it, in one event: the data arrives, and then the reset, no end.
    @Test(arguments: [false, true])
    func lesson24_abortsBehindDataAreSeenAsAborts(_ byServer: Bool) throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let (one, other) = byServer ? (server, client) : (client, server)
        #expect(one.sendSome([1, 2, 3, 4]) == 4)
        try one.setAbortOnClose()
        one.close()
        lab.run()
        let received = other.receiveSome()
        #expect(received.bytes == [1, 2, 3, 4] && received.error == ECONNRESET)
        other.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// After one direction has ended, only the event itself tells of the reset.
    @Test func lesson24_abortsAfterHalfCloseAreSeen() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        try client.shutdown(1)
        lab.run()
        #expect(server.receiveSome().isEnd)
        try client.setAbortOnClose()
        client.close()
        lab.run()
        _ = server.sendSome([1])
        lab.run()
        let count = lab.transfer.table.count
        #expect(count == 0)
        #expect(server.receiveSome().error != 0 || server.sendSome([2]) < 0)
        server.close()
    }

    @Test func refusedConnectionsAreReset() throws {
        var lab = try SpliceLab()
        let client = try lab.connectToNobody()
        _ = client.sendSome([1])
        lab.run()
        #expect(client.receiveSome().error == ECONNRESET)
        client.close()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }

    /// A default that paces by an estimate of the path, bbr for one, has nothing to estimate on loopback.
    @Test func bothSocketsUseNewReno() throws {
        var lab = try SpliceLab()
        let (client, server) = try lab.connect()
        let flow = lab.transfer.table[0]
        for socket in [flow.near, flow.far] {
            var name = [UInt8](repeating: 0, count: 16)
            var length = UInt32(name.count)
            #expect(unsafe getsockopt(socket.number, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length) == 0)
            #expect(String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) == "reno")
        }
        client.close()
        server.close()
    }

    /// Whoever finds no pipe tries again in a while, and holds up nobody else until then.
    @Test func whoLacksAPipeHoldsUpNobody() throws {
        var lab = try SpliceLab(mostPipes: 2)
        let piece = [UInt8](repeating: 7, count: 1 << 16)
        // Both pipes belong to connections whose servers read nothing.
        var full: [(client: Descriptor, server: Descriptor, sent: Int)] = []
        for _ in 0..<2 {
            let (client, server) = try lab.connect()
            var sent = 0
            while case let count = client.sendSome(piece[...]), count > 0 {
                sent += count
                lab.run()
            }
            full.append((client, server, sent))
        }
        let (client, server) = try lab.connect()
        #expect(client.sendSome([1]) == 1)
        lab.run()
        #expect(server.receiveNothing && lab.counters[.spliceStarved] > 0)
        // Who has more to do than one turn allows has the next one at once.
        lab.transfer.table.queueReady(0)
        let isReady = lab.transfer.hasMore
        lab.transfer.endRound(&lab.counters, now: lab.now)
        let isStillReady = lab.transfer.hasMore
        #expect(isReady && !isStillReady)
        // One of them reads on: all that its client has sent arrives in this very moment.
        var received = 0
        while case let bytes = full[0].server.receiveSome().bytes, !bytes.isEmpty {
            received += bytes.count
            lab.run()
        }
        #expect(received == full[0].sent)
        // That has set a pipe free.
        lab.now += 50
        lab.transfer.endRound(&lab.counters, now: lab.now)
        lab.run()
        #expect(server.receiveSome().bytes == [1])
        for (client, server, _) in full { client.close(); server.close() }
        client.close()
        server.close()
        lab.run()
    }

    /// Quiet connections hold no pipe, and one pipe is enough for all.
    @Test func quietConnectionsShareAPipe() throws {
        var lab = try SpliceLab()
        var pairs: [(client: Descriptor, server: Descriptor)] = []
        for _ in 0..<50 { pairs.append(try lab.connect()) }
        for (client, _) in pairs { #expect(client.sendSome([1, 2, 3]) == 3) }
        lab.run()
        for (client, server) in pairs {
            #expect(server.receiveSome().bytes == [1, 2, 3])
            #expect(server.sendSome([4]) == 1)
            lab.run()
            #expect(client.receiveSome().bytes == [4])
        }
        let idle = lab.transfer.pipes.idleCount
        #expect(idle == 4)
        for (client, server) in pairs {
            client.close()
            lab.run()
            server.close()
        }
        lab.run()
        let count = lab.transfer.table.count
        #expect(count == 0)
    }
}
