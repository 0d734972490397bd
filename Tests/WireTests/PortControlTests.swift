import Testing

@testable import Wire

/// The messages of --conf-path. Sizes and places are those of the field guide, 1.6.
@Suite struct PortControlTests {
    private static func bytes(_ rule: PortControlRule) -> [UInt8] {
        [UInt8].written(PortControlRule.byteCount) { rule.write(to: &$0, at: 0) }
    }

    private static func read(_ bytes: [UInt8]) -> PortControlRule? { bytes.parse { PortControlRule($0, at: 0) } }

    @Test func aRuleHasFiftySixBytes() throws {
        var rule = PortControlRule(isTCP: false, 8080...8089, target: 90)
        rule.address = IPAddress(IPv4Address(0xc000_0201))
        rule.targetAddress = IPAddress(IPv4Address(0x0a00_0264))
        rule.interface = try #require(InterfaceName("enp0s31f6"))
        rule.isBestEffort = true
        let bytes = Self.bytes(rule)
        let expected: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 2, 100]
            + Array("enp0s31f6".utf8) + [0, 0, 0, 0, 0, 0, 0] + [0x1f, 0x90, 0x1f, 0x99, 0, 90, 17, 2]
        #expect(bytes == expected)
        #expect(Self.read(bytes) == rule)
        #expect(rule.target(of: 8085) == 95)
    }

    @Test func flagsAreOnesOwn() {
        var rule = PortControlRule(isTCP: true, 1...65535, target: 1)
        #expect(Self.bytes(rule)[54...55] == [6, 1])
        rule.scans = true
        rule.isBestEffort = true
        #expect(Self.bytes(rule)[54...55] == [6, 7])
        #expect(Self.read(Self.bytes(rule)) == rule)
    }

    @Test("What cannot be", arguments: [
        (48, [0, 0, 0, 80, 0, 80]), (48, [0, 81, 0, 80, 0, 80]), (48, [0, 80, 0, 80, 0, 0]), (48, [0, 1, 255, 255, 0, 2]), (54, [1]), (54, [0]), (55, [8]), (55, [0xff]),
        // Any address that is one; a group; no end of the name; something behind its end.
        (0, [1]), (0, [0xff, 2]), (32, Array(repeating: 65, count: 16)), (32, [65, 0, 65]),
        // Other families; nowhere; followed, but to another port.
        (16, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0]), (52, [0, 81, 6, 7]),
    ] as [(Int, [UInt8])])
    func othersAreNone(_ offset: Int, _ change: [UInt8]) {
        var bytes = Self.bytes(PortControlRule(isTCP: true, 80...80, target: 80))
        #expect(Self.read(bytes) != nil)
        bytes.replaceSubrange(offset..<(offset + change.count), with: change)
        #expect(Self.read(bytes) == nil)
        #expect(Self.read(Array(bytes.dropLast())) == nil)
    }

    @Test func familiesAreKept() {
        var rule = PortControlRule(isTCP: true, 80...80, target: 80)
        rule.address = IPAddress(IPv6Address(high: 0x2001_0db8_0000_0000, low: 1))
        rule.targetAddress = IPAddress(IPv4Address(0x0a00_0264))
        #expect(Self.read(Self.bytes(rule)) == nil)
        rule.address = nil
        #expect(Self.read(Self.bytes(rule)) == rule)
    }

    @Test func namesOfInterfaces() {
        for name in ["", String(repeating: "x", count: 16), "a\0b"] { #expect(InterfaceName(name) == nil) }
        for name in ["lo", "eth0", "abcdefgh", "abcdefghi", String(repeating: "x", count: 15)] {
            #expect(InterfaceName(name)?.text == name && InterfaceName(name)?.isEmpty == false)
        }
        #expect(InterfaceName().isEmpty && InterfaceName().text == "")
    }

    @Test func theBeginningTellsTheVersion() {
        var hello = [UInt8].written(PortControl.helloByteCount) { PortControl.writeHello(to: &$0) }
        #expect(hello == Array("basil:s".utf8) + [0, 0, 0, 0, 2, 0, 0, 0, 128, 0, 0, 0, 16])
        #expect(hello.parse { PortControl.isOwnVersion($0) } == true)
        hello[11] = 3
        #expect(hello.parse { PortControl.isOwnVersion($0) } == false)
        hello[0] = 0
        #expect(hello.parse { PortControl.isOwnVersion($0) } == .some(nil))
    }

    /// Whatever was in the buffer before.
    @Test(arguments: PortTableName.allCases)
    func namesAreFilledUpWithZeros(_ name: PortTableName) {
        let bytes = [UInt8].written(PortTableHead.byteCount) { PortTableHead.write(name, [.ipv4, .answers], count: 7, to: &$0, at: 0) }
        let text = Array("\(name.text)".utf8)
        #expect(bytes == [name.rawValue] + text + [UInt8](repeating: 0, count: 128 - text.count) + [0x40, 0, 0, 1, 0, 0, 0, 7])
        let head = Array(bytes.dropFirst()).parse { PortTableHead(number: bytes[0], $0) }
        #expect(head?.name == "\(name.text)" && head?.count == 7 && head?.capabilities == [.ipv4, .answers])
    }

    @Test func requestsEndWithAZero() {
        let rule = Self.bytes(PortControlRule(isTCP: true, 80...80, target: 80))
        let one: [UInt8] = [1, 0, 0, 0, 2] + rule + rule + [2, 0, 0, 0, 0, 0]
        func state(_ bytes: [UInt8]) -> PortControl.Request { bytes.parse { PortControl.state(ofRequest: $0, count: bytes.count) } }
        for length in 0..<one.count { #expect(state(Array(one.prefix(length))) == .incomplete, "\(length)") }
        #expect(state(one) == .complete && state([0]) == .complete)
        #expect(state(one + [0]) == .impossible && state([0, 0]) == .impossible)
        #expect(state([1, 0, 0, 1, 0]) == .impossible && state([1, 0xff, 0xff, 0xff, 0xff]) == .impossible)
        // More tables than there are.
        let long = Array(repeating: [1, 0, 0, 0, 0] as [UInt8], count: PortControl.mostRequestBytes / 5 + 1).flatMap { $0 }
        #expect(state(long) == .impossible)
    }

    @Test func answersSayWhat() {
        let answer = PortControlAnswer(.failed, table: .splice, isTCP: false, port: 53, code: 98, rule: 254)
        let bytes = [UInt8].written(PortControlAnswer.byteCount) { answer.write(to: &$0) }
        #expect(bytes == [3, 2, 17, 0, 0, 53, 0, 0, 0, 0, 0, 98, 0, 0, 0, 254])
        #expect(bytes.parse { PortControlAnswer($0) } == answer)
        #expect(([9] + bytes.dropFirst()).parse { PortControlAnswer($0) } == nil)
    }
}
