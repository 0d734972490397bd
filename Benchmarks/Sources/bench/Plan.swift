internal import Foundation

/// What is measured, in which settings, how long.
struct Plan {
    /// A group of figures that is measured with one relay running.
    struct Setting {
        let name: String
        let link: Link
        var six = false
        /// Whether it is repeated in every run.
        var isRepeated = true
        var way = Way.outward
        /// What only our program is asked.
        var isOursAlone = false
        let measure: (inout Measuring) throws -> Void
    }

    var runs: Int
    /// Seconds of a single bulk stream, and of everything else.
    let long: Double
    let short: Double
    let startUps: Int
    let isFull: Bool

    static let quick = Plan(runs: 1, long: 1.5, short: 1, startUps: 5, isFull: false)
    static let full = Plan(runs: 3, long: 5, short: 1.5, startUps: 21, isFull: true)

    var settings: [Setting] {
        var all: [Setting] = []
        for mtu in isFull ? [1500, 9000, 65520] : [1500, 65520] {
            all.append(Setting(name: "MTU \(mtu)", link: Link(mtu: mtu)) { m in
                try m.bulk(streams: 1, seconds: mtu == 9000 ? short : long, withCost: true)
                if isFull { try m.bulk(streams: 4, seconds: short) }
                if isFull || mtu != 1500 { try m.bothWays(seconds: short) }
                if isFull || mtu == 1500 { try m.datagrams(seconds: short) }
                if mtu == 65520 { try m.transactions(seconds: short) }
            })
        }
        all.append(Setting(name: "cost", link: Link(mtu: 65520), isRepeated: false) { m in
            try m.systemCalls(transactions: isFull ? 2000 : 300)
            try m.idle(seconds: isFull ? 5 : 2)
            try m.held(isFull ? 10_000 : 1000)
            if isFull { try m.inTurn(100_000) }
        })
        // Beside the figures of the same path and MTU that the guest's own connections have.
        all.append(Setting(name: "forwarded port, MTU 65520", link: Link(mtu: 65520), way: .inward) { m in
            try m.bulk(streams: 1, seconds: long)
            try m.transactions(seconds: short)
        })
        all.append(Setting(name: "loopback, forwarded port", link: Link(mtu: 65520), way: .loopback) { m in
            try m.bulk(streams: 1, seconds: long, withCost: true)
            try m.transactions(seconds: short)
            try m.systemCalls(transactions: isFull ? 2000 : 300)
        })
        if isFull {
            all.append(Setting(name: "IPv6, MTU 1500", link: Link(mtu: 1500), six: true) { m in try m.bulk(streams: 1, seconds: short) })
            all.append(Setting(name: "IPv6, MTU 65520", link: Link(mtu: 65520), six: true) { m in
                try m.bulk(streams: 1, seconds: short)
                try m.transactions(seconds: short)
            })
            for mtu in [1500, 65520] {
                all.append(Setting(name: "BBR, MTU \(mtu)", link: Link(mtu: mtu, congestion: "bbr")) { m in
                    try m.bulk(streams: 1, seconds: short)
                })
            }
            for congestion in [nil, "bbr"] {
                all.append(Setting(name: "60 s, MTU 1500\(congestion.map { ", \($0)" } ?? "")", link: Link(mtu: 1500, congestion: congestion),
                                   isRepeated: false, isOursAlone: true) { m in try m.bulk(streams: 1, seconds: 60) })
            }
        }
        return all + disturbed
    }

    private var disturbed: [Setting] {
        func path(
            _ name: String, _ conditions: String, congestion: String? = nil, buffers: Int? = nil, isRepeated: Bool = true, isOursAlone: Bool = false,
            _ measure: @escaping (inout Measuring) throws -> Void
        ) -> Setting {
            let link = Link(mtu: 1500, conditions: conditions, congestion: congestion, buffers: buffers)
            return Setting(name: name, link: link, isRepeated: isRepeated, isOursAlone: isOursAlone, measure: measure)
        }
        let far = "delay=25ms rate=1gbit queue=12mb"
        let lossy = "delay=5ms rate=1gbit queue=5mb loss=1%", swapping = "delay=5ms rate=1gbit queue=5mb reorder=5% hold=1ms"
        var all = [
            path("emulated path", "clear") { m in try m.bulk(streams: 1, seconds: short) },
            path("50 ms, 1 Gbit/s", far) { m in
                try m.roundTrip()
                try m.bulk(streams: 1, seconds: isFull ? 8 : 3, withRoundTrip: true)
            },
            path("disturbed", "delay=1ms loss=0.1% reorder=1% hold=2ms duplicate=0.1%") { m in try m.identical(bytes: isFull ? 200 << 20 : 20 << 20) },
        ]
        if isFull {
            all += [
                // The receive buffers that Linux grows to by default hold half of this path.
                path("50 ms, 1 Gbit/s, 32 MiB buffers", far, buffers: 32 << 20) { m in try m.bulk(streams: 1, seconds: 8, withRoundTrip: true) },
                path("50 ms, 1 Gbit/s, BBR", far, congestion: "bbr") { m in try m.bulk(streams: 1, seconds: 8, withRoundTrip: true) },
                path("1 % loss, 10 ms", lossy) { m in try m.bulk(streams: 1, seconds: 15) },
                path("5 % reordering", swapping) { m in try m.bulk(streams: 1, seconds: 4) },
                path("10 s black hole", "delay=5ms rate=1gbit queue=5mb", isRepeated: false) { m in try m.blackHole(seconds: 10) },
                path("50 ms, 1 Gbit/s, every byte", far, isRepeated: false, isOursAlone: true) { m in try m.identical(bytes: 200 << 20) },
                path("50 ms, 1 Gbit/s, BBR, every byte", far, congestion: "bbr", isRepeated: false, isOursAlone: true) { m in try m.identical(bytes: 200 << 20) },
                path("1 % loss, 10 ms, every byte", lossy, isRepeated: false, isOursAlone: true) { m in try m.identical(bytes: 20 << 20) },
                path("5 % reordering, every byte", swapping, isRepeated: false, isOursAlone: true) { m in try m.identical(bytes: 200 << 20) },
            ]
        }
        return all
    }
}
