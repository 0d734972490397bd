// Ports: which of them lead to the other side, and the sockets that listen on them.
//
//     PortSpec        the value of -t, -u, -T or -U, taken apart
//     PortSpec+Read   text to that
//     PortSpec+Hints  what a value that others would take is in this grammar
//     PortSpec+Rules  that to rules, each of which is one range of ports that are treated alike
//     PortRules       the rules of all options together, which must not contradict each other
//     PortCircle      ports that would lead back to themselves
//     Listeners       rules to bound sockets
//
// The grammar, in which blanks have no place:
//
//     VALUE   = "none" | [SCOPE "/"] ITEM *( "," ITEM )
//     SCOPE   = ( ADDRESS | "[" ADDRESS "]" | "*" | nothing ) [ "%" INTERFACE ]
//     ITEM    = PORTS [ ":" TARGET ] | ( "all" | "*" ) [ ":" ADDRESS ] | "auto" | "~" PORTS
//     PORTS   = PORT [ "-" PORT ]
//     TARGET  = PORTS | ADDRESS [ "/" PORTS ]
//
// Exclusions (~) take ports from everything else in the same value. A value of nothing but exclusions means all other ports.

internal import Settings
internal import Wire

/// One option's value.
struct PortSpec: Equatable {
    struct Range: Equatable {
        var ports: ClosedRange<UInt16>
        var targetOffset = 0
        var targetAddress: IPAddress?
    }

    /// `none`, which nothing else goes with.
    var isNone = false
    /// nil: any address of both families.
    var address: IPAddress?
    var interface: String?
    var ranges: [Range] = []
    var exclusions: [ClosedRange<UInt16>] = []
    var hasAll = false
    var allTarget: IPAddress?
    var hasAuto = false

    static let allPorts: ClosedRange<UInt16> = 1...UInt16.max
}

/// What is wrong with a value: the reason, to be put behind the option and its text.
struct PortSpecError: Error, Equatable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}
