import Settings
import Testing
import Wire

@testable import Datapath

/// Whatever a guest sends, nothing here may trap, and what is said has right lengths and checksums (`ask` looks).
@Suite struct LocalHostileTests {
    let services = LocalServices(LocalTest.network())
    let all: [LocalTest.Service] = [LocalTest.arp, LocalTest.ns, LocalTest.rs, LocalTest.dhcp, LocalTest.dhcpv6]

    var questions: [[UInt8]] {
        let six = LocalDHCPv6Tests.self
        let address = LocalTest.address(IPv6Address("2001:db8::99")!)
        return [
            LocalTest.bytes("ffffffffffff 525400123456 0806 0001 0800 0604 0001 525400123456 c0000202 000000000000 c0000201"),
            LocalTest.ip6(
                LocalTest.join(LocalTest.bytes("87 00 0000 00000000"), address, LocalTest.bytes("01 01 525400123456")), next: 58, hops: 255,
                to: IPv6Address("ff02::1:ff00:99")!),
            LocalTest.ip6(LocalTest.bytes("85 00 0000 00000000 01 01 525400123456"), next: 58, hops: 255, to: .allRouters),
            LocalTest.udp4(LocalDHCPTests.request(
                "35 01 03 32 04 c0000202 3d 07 01525400123456 39 02 05dc 51 06 05 0000 610162 37 03 01 51 03 ff")),
            LocalTest.udp6(LocalTest.bytes(
                "05 abcdef" + six.client + six.server + six.named(six.other) + "0004 0004 00000009 0006 0004 0017 0027 0027 0003 01 0161")),
        ]
    }

    @Test func truncatedAtEveryLength() {
        for (index, question) in questions.enumerated() {
            #expect(LocalTest.ask(services, all[index], question) != nil)
            for count in 0..<question.count {
                for service in all { _ = LocalTest.ask(services, service, Array(question[..<count])) }
            }
        }
    }

    @Test func everyByteWithEveryExtreme() {
        for question in questions {
            for index in question.indices {
                for value in [0, 1, 0x7f, 0x80, 0xff, question[index] &+ 1, question[index] &- 1] as [UInt8] {
                    var frame = question
                    frame[index] = value
                    for service in all { _ = LocalTest.ask(services, service, frame) }
                }
            }
        }
    }

    @Test(arguments: 0..<4) func randomDamage(_ seed: Int) {
        var random = LocalRandom(state: UInt64(seed))
        let questions = questions
        for _ in 0..<3000 {
            var frame = questions[Int.random(in: 0..<questions.count, using: &random)]
            // From the lengths on, so that most get past the first checks.
            for _ in 0...Int.random(in: 0..<8, using: &random) {
                frame[Int.random(in: 14..<frame.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { frame.removeLast(Int.random(in: 0..<frame.count, using: &random)) }
            for service in all { _ = LocalTest.ask(services, service, frame) }
        }
    }

    @Test func randomTails() {
        // Valid heads, and options of noise.
        var random = LocalRandom(state: 99)
        for _ in 0..<2000 {
            let noise = (0..<Int.random(in: 0..<300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) & 0x7f }
            _ = LocalTest.ask(services, LocalTest.dhcp, LocalTest.udp4(LocalDHCPTests.request("35 01 01") + noise))
            _ = LocalTest.ask(services, LocalTest.dhcpv6, LocalTest.udp6(
                LocalTest.bytes("01 abcdef" + LocalDHCPv6Tests.client) + noise.map { $0 & 0x07 }))
            _ = LocalTest.ask(services, LocalTest.ns, LocalTest.ip6(noise, next: 58, hops: 255, to: .allNodes))
            _ = LocalTest.ask(services, LocalTest.ns, LocalTest.ip6(noise, next: 0, hops: 255, to: .allNodes))
        }
    }

    @Test func shortReplyBuffers() {
        for (index, question) in questions.enumerated() {
            var reply = [UInt8](repeating: 0, count: LocalServices.maximumReply - 1)
            // SAFETY: both spans live inside the closures only.
            let length: Int? = unsafe question.withUnsafeBytes { question in
                unsafe reply.withUnsafeMutableBytes { answer in
                    var span = unsafe MutableRawSpan(_unsafeBytes: answer)
                    return unsafe all[index](services, question.bytes, &span)
                }
            }
            #expect(length == nil)
        }
    }
}

/// Repeatable by its seed.
struct LocalRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
