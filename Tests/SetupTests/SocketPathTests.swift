import CLinux
import Dispatch
import Linux
import Synchronization
import Testing

@testable import Setup

/// Where a socket cannot be made, and what can be done about it.
@Suite struct SocketPathTests {
    private func message(_ body: () throws(SetupError) -> Void) -> String? {
        do throws(SetupError) {
            try body()
            return nil
        } catch {
            return error.message
        }
    }

    @Test func aFileThatIsNoSocketStays() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/s"
            try write("precious", to: path)
            let expected = ": Address already in use, \(path) is not a socket: remove it or name another path"
            let machine = message { () throws(SetupError) in _ = try MachineSocket.listen(at: "unixpacket://\(path)") }
            #expect(machine == "Couldn't listen for option --socket unixpacket://\(path)" + expected)
            let control = message { () throws(SetupError) in _ = try ControlSocket.listen(at: path, option: "--conf-path") }
            #expect(control == "Couldn't listen for option --conf-path \(path)" + expected)
            #expect(try text(of: path) == "precious")
        }
    }

    @Test func somebodyElseListens() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/s"
            let first = try ControlSocket.listen(at: path, option: "--conf-path")
            let second = message { () throws(SetupError) in _ = try MachineSocket.listen(at: path) }
            #expect(second == "Couldn't listen for option --socket \(path): Address already in use, another process listens there")
            // What nobody listens on any more is replaced.
            first.close()
            try MachineSocket.listen(at: path).descriptor.close()
        }
    }

    /// Many that start at once over a socket that somebody has left behind: one gets the path, and keeps it.
    @Test func oneOfManyTakesAStaleSocket() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/s"
            for _ in 0..<50 {
                try UnixSocket.bind(.stream, to: path).close()
                // Processes that other tests start have it for a moment.
                var patience = 5000
                while patience > 0, try UnixSocket.holder(of: path, for: .stream) != .stale { (_, patience) = (usleep(1000), patience - 1) }
                let taken = Mutex<[Descriptor]>([])
                DispatchQueue.concurrentPerform(iterations: 8) { _ in
                    guard let socket = try? UnixSocket.take(.stream, path) else { return }
                    taken.withLock { $0.append(socket) }
                }
                let sockets = taken.withLock { $0 }
                #expect(sockets.count == 1)
                #expect(try UnixSocket.holder(of: path, for: .stream) == .somebody)
                for socket in sockets { socket.close() }
                try UnixSocket.remove(path)
            }
        }
    }

    /// What a start that failed has made goes again; what somebody else has put in its place stays, and so does what a start that succeeded has made.
    @Test func whatWasMadeGoes() throws {
        try withTemporaryDirectory { directory in
            let (mine, replaced, kept) = ("\(directory)/mine", "\(directory)/replaced", "\(directory)/kept")
            for path in [mine, replaced, kept] { try ControlSocket.listen(at: path, option: "--conf-path").close() }
            var made = MadeSockets()
            for path in [mine, replaced, nil, "\(directory)/never"] { made.note(path) }
            // Both are there for a moment, so they are two files.
            try write("precious", to: "\(directory)/other")
            unsafe rename("\(directory)/other", replaced)
            made.remove()
            #expect((try? FileKind.of(mine, follow: false)) == nil)
            #expect(try text(of: replaced) == "precious")
            var others = MadeSockets()
            others.note(kept)
            others.keep()
            others.remove()
            #expect(try FileKind.of(kept, follow: false) == .socket)
        }
    }

    @Test func theReasonOfTheKernelIsToldAsItIs() {
        let error = message { () throws(SetupError) in _ = try MachineSocket.listen(at: "/nonexistent/s") }
        #expect(error == "Couldn't listen for option --socket /nonexistent/s: No such file or directory")
    }

    @Test(arguments: [
        (EACCES, "Permission denied, the machine's own socket must be writable for this user"),
        (EDESTADDRREQ, "Destination address required, the machine's own socket must be bound to a path"),
        (ECONNREFUSED, "Connection refused, the machine's own socket is not there any more"), (EPROTOTYPE, "Protocol wrong type for socket"),
    ] as [(Int32, String)])
    func whyAMachineCannotBeAnswered(_ code: Int32, _ expected: String) {
        #expect(MachineSocket.reason(Errno(code)) == expected)
    }

    @Test func noneOfTheUsualPathsIsFree() throws {
        try withTemporaryDirectory { directory in
            let paths = ["\(directory)/1", "\(directory)/2"]
            for path in paths { try write("", to: path) }
            let error = message { () throws(SetupError) in _ = try MachineSocket.listen(onAnyOf: paths) }
            #expect(error == "Couldn't listen on any of \(paths[0]) to \(paths[1]): Address already in use, name another path with --socket")
            unsafe unlink(paths[1])
            let socket = try MachineSocket.listen(onAnyOf: paths)
            #expect(socket.path == paths[1])
            socket.descriptor.close()
        }
    }
}
