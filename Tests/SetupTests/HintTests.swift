import CLinux
import Linux
import Testing

@testable import Setup

/// What is told about refusals that say little by themselves, and of those alone.
@Suite struct HintTests {
    @Test func eachHintIsForOneReason() {
        let codes = [EAGAIN, EAFNOSUPPORT, ENOMEM, EINVAL, EPERM].map { Errno($0) }
        #expect(codes.map { $0.hintOfFork != nil } == [true, false, false, false, false])
        #expect(codes.map { $0.hintOfNetlink != nil } == [false, true, false, false, false])
        #expect(codes.map { $0.hintOfMemory != nil } == [false, false, true, false, false])
        #expect(codes.map { $0.hintOfFilter != nil } == [false, false, false, true, false])
    }

    /// Who is root needs no rights of root's; and a question that is forbidden has no answer.
    @Test func adviceFitsWhoAsks() {
        #expect(UserIdentity.adviceWithoutRight(user: 0).contains("--runas 0") && UserIdentity.adviceWithoutRight(user: 1000) == "--runas takes root's rights")
        #expect([EACCES, EPERM, ENOTTY, EINVAL].map { TargetNamespace.mayBeNamespace(Errno($0)) } == [true, true, false, false])
    }

    @Test func hintsNameWhatToChange() {
        func line(_ hint: String?) -> String { SetupError(.process, "Couldn't", Errno(EIO), hint: hint).message }
        #expect(line(Errno(EAGAIN).hintOfFork) == "Couldn't: Input/output error, too many processes, see 'ulimit -u' and the container's limit of pids")
        #expect(line(Errno(EAFNOSUPPORT).hintOfNetlink).hasSuffix("for instance by RestrictAddressFamilies= of systemd, which must name it"))
        #expect(line(Errno(ENOMEM).hintOfMemory).hasSuffix("see vm.overcommit_memory (sysctl, not 2), 'ulimit -v' and the container's limit of memory"))
        #expect(line(Errno(EINVAL).hintOfFilter).hasSuffix("the kernel is built without CONFIG_SECCOMP_FILTER, which is needed"))
    }
}
