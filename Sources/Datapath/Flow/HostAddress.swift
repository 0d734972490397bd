internal import Wire

/// One family's own address of the host, which `--map-guest-addr` stands for: what the host has on the interface that the guest's is modelled on, or else anywhere.
/// It changes while we run, and whoever has an address of the host's next is somebody else.
struct HostAddress: BitwiseCopyable {
    private struct Candidate: BitwiseCopyable {
        let address: IPAddress
        let isOnTemplate: Bool
    }

    private var now: Candidate?
    /// What would take its place: the last that came on the model's interface, or else the first on another.
    private var next: Candidate?

    /// `address`: of the model, nil where it has none.
    init(_ address: IPAddress?) {
        now = address.flatMap { $0.isAny ? nil : Candidate(address: $0, isOnTemplate: true) }
    }

    /// nil while there is none.
    var address: IPAddress? { @_noAllocation @_noLocks get { now?.address } }

    /// The host has `address` now.
    mutating func note(_ address: IPAddress, isOnTemplate: Bool) {
        if address == now?.address { return }
        let new = Candidate(address: address, isOnTemplate: isOnTemplate)
        if let old = now {
            if !isOnTemplate || old.isOnTemplate {
                if isOnTemplate || next == nil { next = new }
                return
            }
            next = old
        }
        now = new
    }

    /// The host has lost `address`.
    mutating func forget(_ address: IPAddress) {
        if address == next?.address { next = nil }
        if address == now?.address { (now, next) = (next, nil) }
    }
}
