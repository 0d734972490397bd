import CAllocations
import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Forwarded ports that change, with real sockets at loopback addresses that nothing else here uses.
@Suite struct PortUpdateTests {
    static let setup = PortControlSetup(
        hasIPv4: true, hasIPv6: true, tcp: true, udp: true, hostEphemeral: 20_100...20_199, namespaceEphemeral: 1...1, hasNamespace: true,
        endsAtLoopback: false)

    static func rule(_ ports: ClosedRange<UInt16>, at address: String, to target: UInt16? = nil, isTCP: Bool = true, isBestEffort: Bool = false) -> PortControlRule {
        var rule = PortControlRule(isTCP: isTCP, ports, target: target ?? ports.lowerBound)
        rule.address = IPAddress(IPv4Address(address)!)
        rule.isBestEffort = isBestEffort
        return rule
    }

    /// A forwarder that clients may speak to.
    final class Bench {
        var host: AbuseHost
        private(set) var calls = 0
        /// Most sockets that one call has opened.
        private(set) var most = 0
        private(set) var allocations = 0

        init(_ rules: [PortControlRule] = [], setup: PortControlSetup = PortUpdateTests.setup) throws {
            host = try AbuseHost()
            try host.forwarder.allowPortUpdates(setup, [], [])
            if !rules.isEmpty { #expect(try replace(rules) == PortControlAnswer(.done)) }
        }

        func replace(_ rules: [PortControlRule], in table: PortTableName = .host) throws -> PortControlAnswer {
            let size = 6 + rules.count * PortControlRule.byteCount
            var memory = try Mapping(byteCount: size)
            fill(&memory, rules, table)
            allocations_begin()
            let answer = update(memory, size)
            allocations += Int(allocations_end())
            return answer
        }

        private func fill(_ memory: inout Mapping, _ rules: [PortControlRule], _ table: PortTableName) {
            var bytes = memory.mutableBytes
            bytes.store(table.rawValue, at: 0)
            bytes.store(UInt32(rules.count), at: 1)
            for (index, rule) in rules.enumerated() { rule.write(to: &bytes, at: 5 + index * PortControlRule.byteCount) }
        }

        private func update(_ memory: borrowing Mapping, _ size: Int) -> PortControlAnswer {
            if let answer = host.forwarder.portTables.begin(memory.bytes, count: size) { return answer }
            for _ in 0..<100_000 {
                let before = host.forwarder.listeners.count
                let answer = host.forwarder.continuePortUpdate(now: 0) { _ in }
                calls += 1
                most = max(most, host.forwarder.listeners.count - before)
                if let answer { return answer }
            }
            return PortControlAnswer(.late)
        }

        /// Such as "tcp 127.7.0.1 20000>80".
        var open: Set<String> {
            var open: Set<String> = []
            for index in 0..<host.forwarder.listeners.untouched where host.forwarder.listeners[index].isUsed {
                let entry = host.forwarder.listeners[index]
                open.insert("\(entry.isTCP ? "tcp" : "udp") \(entry.address) \(entry.port)>\(entry.target.port)")
            }
            return open
        }

        func socket(_ port: UInt16) -> Descriptor? {
            for index in 0..<host.forwarder.listeners.untouched where host.forwarder.listeners[index].isUsed && host.forwarder.listeners[index].port == port {
                return host.forwarder.listeners[index].socket
            }
            return nil
        }

        func end() throws { #expect(try replace([]) == PortControlAnswer(.done) && host.forwarder.listeners.count == 0) }
    }

    @Test func portsComeAndGo() throws {
        let bench = try Bench([Self.rule(20_000...20_001, at: "127.7.0.1", to: 80), Self.rule(20_000...20_000, at: "127.7.0.1", isTCP: false)])
        #expect(bench.open == ["tcp 127.7.0.1 20000>80", "tcp 127.7.0.1 20001>81", "udp 127.7.0.1 20000>20000"])
        let (stays, moves) = (bench.socket(20_001), bench.socket(20_000))
        #expect(try bench.replace([Self.rule(20_001...20_002, at: "127.7.0.1", to: 90)]) == PortControlAnswer(.done))
        #expect(bench.open == ["tcp 127.7.0.1 20001>90", "tcp 127.7.0.1 20002>91"])
        // The same socket leads elsewhere; who has connected meanwhile has lost nothing.
        #expect(bench.socket(20_001) == stays && stays != nil && moves != nil)
        let rules = bench.host.forwarder.portTables.inForce.count(.host)
        #expect(rules == 1)
        #expect(try bench.replace([]) == PortControlAnswer(.done))
        #expect(bench.open.isEmpty)
    }

    /// What a rule has that may leave ports out makes way for one that is named, as it does when both are there from the start.
    @Test(arguments: [true, false]) func aNamedPortComesBeforeAll(_ isTCP: Bool) throws {
        // Of all addresses, where no other test has one.
        let all = Self.rule(21_000...21_010, at: "0.0.0.0", isTCP: isTCP, isBestEffort: true)
        let bench = try Bench([all])
        let named = Self.rule(21_005...21_005, at: isTCP ? "127.7.0.20" : "0.0.0.0", to: 53, isTCP: isTCP)
        #expect(try bench.replace([all, named]) == PortControlAnswer(.done))
        let name = isTCP ? "tcp" : "udp"
        #expect(bench.open.contains("\(name) \(isTCP ? "127.7.0.20" : "0.0.0.0") 21005>53"))
        #expect(!bench.open.contains("\(name) 0.0.0.0 21005>21005") && bench.open.count == 11)
        // And comes back with it.
        #expect(try bench.replace([all]) == PortControlAnswer(.done))
        #expect(bench.open == Set((21_000...21_010).map { "\(name) 0.0.0.0 \($0)>\($0)" }))
        try bench.end()
    }

    /// Flows of datagrams know where they lead, so their socket is a new one.
    @Test func datagramsThatLeadElsewhereAreNewOnes() throws {
        let bench = try Bench([Self.rule(20_000...20_000, at: "127.7.0.8", isTCP: false)])
        let claimed = bench.host.forwarder.udp.ports.isListened(20_000, isIPv4: true)
        #expect(claimed)
        #expect(try bench.replace([Self.rule(20_000...20_000, at: "127.7.0.8", to: 53, isTCP: false)]) == PortControlAnswer(.done))
        #expect(bench.open == ["udp 127.7.0.8 20000>53"])
        let stillClaimed = bench.host.forwarder.udp.ports.isListened(20_000, isIPv4: true)
        #expect(!stillClaimed)
        try bench.end()
    }

    /// A client that is being served keeps nobody from changing its port, and is led to where it leads then.
    @Test func flowsOfDatagramsEndWithTheirPort() throws {
        let loopback = IPAddress(IPv4Address("127.7.0.6")!)
        let rules = [80, 81].map { Self.rule(20_000...20_000, at: "127.7.0.6", to: $0, isTCP: false) }
        let bench = try Bench([rules[0]])
        // The guest has an address.
        try bench.host.attack([AbuseFrame.ip4(1, AbuseFrame.echo(1))])
        let client = try FarEnd()
        func send(_ number: UInt8, expecting port: UInt16) throws {
            try client.send([number], to: Endpoint(loopback, 20_000))
            try bench.host.run("datagram \(number)") { $0.sent.contains { $0.proto == 17 && $0.destinationPort == port && $0.udpPayload == [number] } }
            #expect(bench.host.forwarder.udp.inboundCount == 1)
        }
        try send(1, expecting: 80)
        // Elsewhere, which takes the old one's way.
        #expect(try bench.replace([rules[1]]) == PortControlAnswer(.done))
        #expect(bench.host.forwarder.udp.inboundCount == 0)
        try send(2, expecting: 81)
        // Gone, and there again.
        #expect(try bench.replace([]) == PortControlAnswer(.done))
        #expect(bench.host.forwarder.udp.inboundCount == 0)
        #expect(try bench.replace([rules[1]]) == PortControlAnswer(.done))
        try send(3, expecting: 81)
        // Another port's clients stay.
        #expect(try bench.replace([rules[1], Self.rule(20_001...20_001, at: "127.7.0.6", isTCP: false)]) == PortControlAnswer(.done))
        #expect(try bench.replace([rules[1]]) == PortControlAnswer(.done))
        #expect(bench.host.forwarder.udp.inboundCount == 1)
        try bench.end()
    }

    @Test func whatCannotBeOpenedBringsEverythingBack() throws {
        let bench = try Bench([Self.rule(20_000...20_050, at: "127.7.0.2", to: 80)])
        let before = bench.open
        let taken = try ListenerSocket(isTCP: true, address: IPAddress(IPv4Address("127.7.0.2")!), port: 21_040, servesIPv4: true).open()
        defer { taken.close() }
        let answer = try bench.replace([Self.rule(20_010...20_020, at: "127.7.0.2", to: 70), Self.rule(21_000...21_080, at: "127.7.0.2")])
        #expect(answer == PortControlAnswer(.failed, table: .host, isTCP: true, port: 21_040, code: 98, rule: 1))
        #expect(bench.open == before)
        // Also where something had to make way before that.
        let datagrams = Self.rule(20_060...20_060, at: "127.7.0.2", to: 53, isTCP: false)
        let both = [Self.rule(20_000...20_050, at: "127.7.0.2", to: 80), datagrams]
        #expect(try bench.replace(both) == PortControlAnswer(.done))
        let elsewhere = Self.rule(20_060...20_060, at: "127.7.0.2", to: 54, isTCP: false)
        let second = try bench.replace([elsewhere, Self.rule(21_040...21_040, at: "127.7.0.2")])
        #expect(second == PortControlAnswer(.failed, table: .host, isTCP: true, port: 21_040, code: 98, rule: 1))
        #expect(bench.open == before.union(["udp 127.7.0.2 20060>53"]))
        #expect(try bench.replace([both[0]]) == PortControlAnswer(.done))
        let unknown = try bench.replace([Self.rule(20_000...20_000, at: "127.7.0.2", isTCP: true)], in: .splice)
        // The namespace has no helper here.
        #expect(unknown == PortControlAnswer(.failed, table: .splice, isTCP: true, port: 20_000, code: 107))
        #expect(bench.open == before)
        try bench.end()
    }

    /// `all` takes what is free and not the kernel's to give; a rule of its own has the first choice, wherever in the table it stands.
    @Test func whatMayBeLeftOutIs() throws {
        let bench = try Bench()
        let taken = try ListenerSocket(isTCP: true, address: IPAddress(IPv4Address("127.7.0.3")!), port: 20_098, servesIPv4: true).open()
        defer { taken.close() }
        let all = Self.rule(20_095...20_202, at: "127.7.0.3", isBestEffort: true)
        #expect(try bench.replace([all, Self.rule(20_097...20_097, at: "127.7.0.3", to: 80)]) == PortControlAnswer(.done))
        let others = [20_095, 20_096, 20_099, 20_200, 20_201, 20_202].map { "tcp 127.7.0.3 \($0)>\($0)" }
        #expect(bench.open == Set(others + ["tcp 127.7.0.3 20097>80"]))
        // Once more: everything stays, and the rule's own port too.
        let socket = bench.socket(20_097)
        #expect(try bench.replace([all, Self.rule(20_097...20_097, at: "127.7.0.3", to: 81)]) == PortControlAnswer(.done))
        #expect(bench.open == Set(others + ["tcp 127.7.0.3 20097>81"]) && bench.socket(20_097) == socket)
        let before = bench.open
        let nothing = try bench.replace([Self.rule(20_098...20_150, at: "127.7.0.3", isBestEffort: true), Self.rule(20_098...20_098, at: "127.7.0.9")])
        #expect(nothing.outcome == .done)
        #expect(bench.open == ["tcp 127.7.0.3 20099>20099", "tcp 127.7.0.9 20098>20098"])
        let none = try bench.replace([Self.rule(20_098...20_098, at: "127.7.0.3", isBestEffort: true)])
        #expect(none == PortControlAnswer(.nothingBound, table: .host, isTCP: true, rule: 0))
        #expect(bench.open == ["tcp 127.7.0.3 20099>20099", "tcp 127.7.0.9 20098>20098"] && before != bench.open)
        try bench.end()
    }

    /// However many there are, the loop comes to everybody else in between, and nothing is allocated.
    @Test func workIsCutIntoSlices() throws {
        let bench = try Bench()
        #expect(try bench.replace([Self.rule(22_000...22_255, at: "127.7.0.4")]) == PortControlAnswer(.done))
        #expect(bench.open.count == 256 && bench.most <= 32 && bench.calls >= 256 / 32, "\(bench.most) sockets at once, \(bench.calls) calls")
        #expect(try bench.replace([Self.rule(22_128...22_383, at: "127.7.0.4")]) == PortControlAnswer(.done))
        #expect(bench.open.count == 256 && bench.most <= 32)
        // What fails takes its time, too: nobody has this address.
        let before = bench.calls
        let nowhere = Self.rule(22_000...22_999, at: "192.0.2.99", isBestEffort: true)
        #expect(try bench.replace([nowhere]).outcome == .nothingBound)
        #expect(bench.calls - before >= 1000 / 32, "\(bench.calls - before) calls")
        #if !DEBUG
        #expect(bench.allocations == 0)
        #endif
        try bench.end()
    }

    /// Rules that the setup cannot serve are refused before anything is touched.
    @Test func whatTheGuestLacksIsRefused() throws {
        var setup = Self.setup
        setup.udp = false
        setup.hasIPv6 = false
        setup.hasNamespace = false
        let bench = try Bench([Self.rule(20_000...20_000, at: "127.7.0.5")], setup: setup)
        #expect(try bench.replace([Self.rule(20_001...20_001, at: "127.7.0.5", isTCP: false)]).outcome == .unreadable)
        #expect(try bench.replace([Self.rule(20_001...20_001, at: "127.7.0.5")], in: .splice).outcome == .unreadable)
        var other = PortControlRule(isTCP: true, 20_001...20_001, target: 80)
        other.address = IPAddress(IPv6Address.loopback)
        #expect(try bench.replace([other]) == PortControlAnswer(.failed, table: .host, isTCP: true, port: 20_001, code: 97))
        other.address = nil
        other.scans = true
        other.target = 20_001
        other.isBestEffort = true
        // Nobody tells who listens.
        #expect(try bench.replace([other]).outcome == .tooMany)
        other.scans = false
        other.interface = InterfaceName("nosuch0")!
        #expect(try bench.replace([other]) == PortControlAnswer(.noInterface, table: .host, rule: 0))
        #expect(bench.open == ["tcp 127.7.0.5 20000>20000"])
        try bench.end()
    }
}
