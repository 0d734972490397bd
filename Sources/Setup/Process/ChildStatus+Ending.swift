internal import CLinux
internal import Linux

extension ChildStatus {
    /// How a process has ended that others waited for; nil where it has not, or nobody knows.
    var ending: String? {
        switch self {
        case .exited(let status): "with status \(status)"
        case .killed(signal: SIGKILL): "by signal 9, as where memory is short"
        case .killed(signal: SIGSYS): "by signal 31, as a filter of system calls does (systemd has SystemCallFilter=)"
        case .killed(let signal): "by signal \(signal)"
        case .stopped, .none: nil
        }
    }
}
