internal import Wire

/// One family's own address of the host, which `--map-guest-addr` stands for: what the host has on the interface that the guest's is modelled on, or else anywhere.
/// It changes while we run, and whoever has an address of the host's next is somebody else.
struct HostAddress: BitwiseCopyable {
    private struct Candidate: BitwiseCopyable {
        var address: IPAddress
        var isOnTemplate: Bool
    }

    /// As many as are remembered; with more, the last ones are not.
    private static var most: Int { 8 }

    /// In the order in which they came. Only `current` counts.
    private var candidates: InlineArray<8, Candidate>
    private var count = 0
    private var current = 0

    /// `address`: of the model, nil where it has none.
    init(_ address: IPAddress?) {
        candidates = InlineArray(repeating: Candidate(address: IPAddress(IPv6Address.any), isOnTemplate: false))
        if let address, !address.isAny { note(address, isOnTemplate: true) }
    }

    /// nil while there is none.
    var address: IPAddress? { @_noAllocation @_noLocks get { count == 0 ? nil : candidates[current].address } }

    /// The host has `address` now. One of the model's takes the place of one that is not.
    mutating func note(_ address: IPAddress, isOnTemplate: Bool) {
        for index in 0..<count where candidates[index].address == address { return }
        guard count < HostAddress.most else { return }
        candidates[count] = Candidate(address: address, isOnTemplate: isOnTemplate)
        count += 1
        if isOnTemplate, !candidates[current].isOnTemplate { current = count - 1 }
    }

    mutating func forgetAll() { (count, current) = (0, 0) }

    /// The host has lost `address`. If that was the one, it is now the last that came on the model's interface, or else the first on another.
    mutating func forget(_ address: IPAddress) {
        guard let gone = (0..<count).first(where: { candidates[$0].address == address }) else { return }
        for index in (gone + 1)..<max(count, gone + 1) { candidates[index - 1] = candidates[index] }
        count -= 1
        if gone == current {
            current = (0..<count).last { candidates[$0].isOnTemplate } ?? 0
        } else if gone < current {
            current -= 1
        }
    }
}
