import Linux
import Wire

@testable import Datapath
@testable import Settings

/// A client's request, read as the program reads it; and the same bytes read as a client reads the program's.
final class ControlTarget {
    private var tables: PortTables

    init() {
        let setup = PortControlSetup(
            hasIPv4: true, hasIPv6: true, tcp: true, udp: true, hostEphemeral: 32768...60999, namespaceEphemeral: 32768...60999, hasNamespace: true,
            endsAtLoopback: false)
        tables = try! PortTables(setup)
    }

    func run(_ input: [UInt8]) {
        let count = min(input.count, PortControl.mostRequestBytes)
        var buffer = try! Mapping(byteCount: count)
        ControlTarget.fill(&buffer, input, count)
        ControlTarget.readAsClient(buffer, count)
        guard PortControl.state(ofRequest: buffer.bytes, count: count) == .complete else { return }
        let refusal = tables.begin(buffer.bytes, count: count)
        if refusal == nil { open() }
    }

    /// Every port of every rule once, and none outside.
    private func open() {
        tables.step = .open
        var looks = 1 << 24
        while let candidate = tables.next(looks: &looks) {
            precondition(candidate.rule.ports.contains(candidate.port) && !candidate.rule.scans)
            precondition(Int(candidate.rule.target(of: candidate.port)) == Int(candidate.rule.target) + Int(candidate.port - candidate.rule.first))
            tables.opened(candidate)
        }
        _ = tables.unbound()
        _ = tables.finish()
    }

    private static func fill(_ buffer: inout Mapping, _ input: [UInt8], _ count: Int) {
        var bytes = buffer.mutableBytes
        for index in 0..<count { bytes.store(input[index], at: index) }
    }

    private static func readAsClient(_ buffer: borrowing Mapping, _ count: Int) {
        let said = buffer.bytes.extracting(0..<count)
        _ = PortControl.isOwnVersion(said)
        _ = PortControlAnswer(said)
        if count > 1 { _ = PortTableHead(number: 1, said.extracting(1..<count)) }
        guard let rule = PortControlRule(said, at: 0) else { return }
        precondition(!rule.text.isEmpty && rule.first <= rule.last && Int(rule.target) + Int(rule.last - rule.first) <= 65535)
    }
}
