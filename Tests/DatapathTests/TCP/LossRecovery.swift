/// How Linux repairs losses where its peer knows no selective acknowledgements: fast recovery as NewReno (RFC 6582), and behind a retransmission timeout first something
/// new, to see whether anything was lost at all (F-RTO; RFC 5682, section 2.1). What is new then is sent again with the next timeout only, if it was lost as well.
struct LossRecovery {
    enum Step {
        /// The first segment is sent again.
        case first
        /// Everything up to `end` is.
        case all
        /// Nothing is sent again for now.
        case new
    }

    private enum Phase { case none, fast, timedOut, sentNew, resending }

    private var phase = Phase.none
    /// What was sent when it began; behind that there is only what is new.
    private var end = 0
    /// Where the two new segments that F-RTO sends may begin.
    private var newBegins = 0
    private var newLeft = 0

    mutating func timeout(highest: Int) {
        end = highest
        phase = .timedOut
    }

    /// `hasNew`: something new may be sent.
    mutating func progress(_ acknowledged: Int, highest: Int, hasNew: Bool) -> Step? {
        switch phase {
        case .none: return nil
        case _ where acknowledged > end:
            phase = .none
            return .new
        // Whether the next equal acknowledgements tell of a loss or of what was sent twice, nobody knows (RFC 6582, section 3.2).
        case _ where acknowledged == end: return .new
        case .fast: return .first
        case .timedOut:
            guard hasNew else {
                phase = .resending
                return .all
            }
            phase = .sentNew
            (end, newBegins, newLeft) = (highest, highest, 2)
            return .new
        case .sentNew:
            phase = .resending
            return .all
        case .resending: return nil
        }
    }

    mutating func duplicate(_ count: Int, highest: Int) -> Step? {
        if phase == .none, count == 3 {
            (phase, end) = (.fast, highest)
            return .first
        }
        guard phase == .sentNew, newLeft < 2 else { return nil }
        phase = .resending
        return .all
    }

    /// Where to go on instead of here.
    func place(_ next: Int, highest: Int) -> Int? { phase == .resending && next >= end && next < highest ? highest : nil }

    func maySend(_ next: Int) -> Bool { phase != .sentNew || newLeft > 0 }

    mutating func sent(_ range: Range<Int>) {
        if phase == .sentNew, range.lowerBound >= newBegins { newLeft -= 1 }
    }
}
