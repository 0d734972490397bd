import Glibc
import Linux
import Testing

@testable import Setup

/// What signals do is the process's, so each test has one of its own.
@Suite struct QuitSignalsTests {
    /// A file that is as long as it may be (`ulimit -f`) is an error of who writes to it, and not the program's end.
    @Test func aFileThatMayNotGrowIsAnError() async {
        await #expect(processExitsWith: .success) {
            Signals.setDefault(SIGXFSZ)
            _ = try QuitSignals.install(withCommand: false)
            try withTemporaryDirectory { directory in
                let file = try Descriptor.create("\(directory)/file")
                var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
                try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
                // As much as fits.
                try file.write([UInt8](repeating: 1, count: 5000))
                var code: Int32 = 0
                do throws(Errno) { try file.write([1]) } catch { code = error.code }
                try #require(code == EFBIG)
            }
        }
    }

    /// A command starts with what the caller had: what is ignored would stay ignored in it.
    @Test func commandsGetBackWhatWasBefore() async {
        await #expect(processExitsWith: .success) {
            Signals.setDefault(SIGPIPE)
            Signals.setDefault(SIGXFSZ)
            let signals = try QuitSignals.install(withCommand: true)
            try #require(Signals.isIgnored(SIGPIPE) && Signals.isIgnored(SIGXFSZ))
            signals.restore()
            try #require(!Signals.isIgnored(SIGPIPE) && !Signals.isIgnored(SIGXFSZ))
        }
    }

    /// A caller that ignores the ends of its children would make the kernel forget ours without a word (wait(2)); the command gets that back.
    @Test func lesson69_endsOfChildrenAreHeardOf() async {
        await #expect(processExitsWith: .success) {
            Signals.ignore(SIGCHLD)
            let signals = try QuitSignals.install(withCommand: true)
            let child = try Process.fork()
            if child == 0 { Process.exit(3) }
            try #require(try Process.wait(for: child) == .exited(3))
            signals.restore()
            try #require(Signals.isIgnored(SIGCHLD))
        }
    }

    /// As shells without job control do for what they start in the background. Blocked, an ignored signal would come all the same.
    @Test func ignoredSignalsAreNotRead() async {
        await #expect(processExitsWith: .success) {
            for number in [SIGQUIT, SIGUSR1] { Signals.ignore(number) }
            Signals.setDefault(SIGINT)
            let signals = try QuitSignals.install(withCommand: true)
            for number in [SIGQUIT, SIGUSR1] { _ = raise(number) }
            try #require(signals.next() == nil)
            // For this thread, which is the one that holds it back.
            _ = raise(SIGINT)
            try #require(signals.next() == .interrupt(isOfProcess: true))
        }
    }

    @Test func whatTheCallerIgnoredStaysIgnored() async {
        await #expect(processExitsWith: .success) {
            Signals.setDefault(SIGPIPE)
            Signals.ignore(SIGXFSZ)
            let signals = try QuitSignals.install(withCommand: true)
            signals.restore()
            try #require(!Signals.isIgnored(SIGPIPE) && Signals.isIgnored(SIGXFSZ))
        }
    }
}
