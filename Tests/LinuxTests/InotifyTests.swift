import CLinux
import Testing

@testable import Linux

/// One event as the kernel writes it, in the machine's order: watch, mask, cookie, length, name padded with zeros.
private func event(_ mask: UInt32, _ name: String = "", padding: Int = 1) -> [UInt8] {
    let padded = name.isEmpty ? [] : Array(name.utf8) + [UInt8](repeating: 0, count: padding)
    var bytes: [UInt8] = []
    for word in [1, mask, 0, UInt32(padded.count)] {
        for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * UInt32(shift)))) }
    }
    return bytes + padded
}

private func change(_ bytes: [UInt8], of name: String = "ns") -> DirectoryChange {
    let name = name.utf8CString.map { $0 }
    return Inotify.change(of: name, in: unsafe bytes.span.bytes)
}

@Suite struct InotifyTests {
    private let delete = UInt32(IN_DELETE)

    @Test func lesson45_everyEventOfAReadIsLookedAt() {
        #expect(change(event(delete, "other") + event(delete, "ns", padding: 14)) == .removed)
        #expect(change(event(delete, "ns") + event(delete, "other")) == .removed)
        #expect(change(event(UInt32(IN_MOVED_FROM), "ns")) == .removed)
        #expect(change(event(delete, "other") + event(UInt32(IN_DELETE_SELF))) == .removed)
    }

    @Test func otherNamesAreLeftAlone() {
        #expect(change([]) == .nothing)
        #expect(change(event(delete, "nsx") + event(delete, "n") + event(delete, "xns")) == .nothing)
        #expect(change(event(UInt32(IN_CREATE), "ns")) == .nothing)
    }

    @Test func lostOrBrokenEventsMeanLooking() {
        #expect(change(event(UInt32(IN_Q_OVERFLOW))) == .unknown)
        #expect(change(Array(event(delete, "a long name").dropLast(3))) == .unknown)
        #expect(change(Array(event(delete, "ns").prefix(12))) == .nothing)
    }
}
