import CLinux
import Linux
import Setup
import Testing

@testable import RepairHelper

/// Finding passt, by files in directories of the test's own.
@Suite struct RepairDirectoryTests {
    /// Whether the connection arrived at that socket.
    private func arrives(_ connection: Descriptor, at listener: Descriptor) throws -> Bool {
        defer { connection.close() }
        guard let (accepted, _) = try listener.accept() else { return false }
        accepted.close()
        return true
    }

    @Test func theSocketItself() throws {
        try withDirectory { path in
            // Its name is anything.
            let listener = try UnixSocket.bind(.stream, to: "\(path)/socket")
            defer { listener.close() }
            #expect(try arrives(try RepairSocket.connect(to: "\(path)/socket"), at: listener))
        }
    }

    @Test func aSocketFromBefore() throws {
        try withDirectory { path in
            let listener = try UnixSocket.bind(.stream, to: "\(path)/vm.repair")
            defer { listener.close() }
            #expect(try arrives(try RepairSocket.connect(to: path), at: listener))
        }
    }

    @Test func aSocketFromAfterwards() throws {
        try withDirectory { path in
            let directory = try RepairDirectory(path)
            defer { directory.close() }
            #expect(try directory.look() == .nothing)
            #expect(try !directory.wait(milliseconds: 0))
            // Between the look and the wait.
            let listener = try UnixSocket.bind(.stream, to: "\(path)/vm.repair")
            defer { listener.close() }
            #expect(try directory.wait(milliseconds: 10_000))
            #expect(try arrives(try directory.connect(), at: listener))
        }
    }

    /// As a program that binds under another name first, so that nobody comes too early.
    @Test func aSocketThatGetsItsNameLater() throws {
        try withDirectory { path in
            let directory = try RepairDirectory(path)
            defer { directory.close() }
            let listener = try UnixSocket.bind(.stream, to: "\(path)/vm.new")
            defer { listener.close() }
            #expect(try directory.wait(milliseconds: 10_000))
            #expect(try directory.look() == .nothing)
            #expect(unsafe rename("\(path)/vm.new", "\(path)/vm.repair") == 0)
            #expect(try directory.wait(milliseconds: 10_000))
            #expect(try arrives(try directory.connect(), at: listener))
        }
    }

    @Test func whatIsNoSocketAndWhatNobodyHasAreNotTaken() throws {
        try withDirectory { path in
            let directory = try RepairDirectory(path)
            defer { directory.close() }
            try Descriptor.create("\(path)/a.repair").close()
            let other = try UnixSocket.bind(.stream, to: "\(path)/b.repair.socket")
            defer { other.close() }
            #expect(try directory.look() == .nothing)
            // Left by a program that has ended.
            try UnixSocket.bind(.stream, to: "\(path)/c.repair").close()
            #expect(try directory.look() == .refused)
            let listener = try UnixSocket.bind(.stream, to: "\(path)/d.repair")
            defer { listener.close() }
            #expect(try arrives(try directory.connect(), at: listener))
        }
    }

    @Test func aDirectoryThatGoesAwayIsToldOf() throws {
        try withDirectory { path in
            let directory = try RepairDirectory(path)
            defer { directory.close() }
            #expect(unsafe rmdir(path) == 0)
            let error = #expect(throws: SetupError.self) { try directory.wait(milliseconds: 10_000) }
            #expect(error?.message == "Directory \(path) has gone away, start again when it is back")
        }
    }

    @Test func whyThereIsNoConnectionIsTold() throws {
        try withDirectory { path in
            try UnixSocket.bind(.stream, to: "\(path)/stale").close()
            let datagrams = try UnixSocket.bind(.datagrams, to: "\(path)/datagrams.repair")
            defer { datagrams.close() }
            for (place, message) in [
                ("\(path)/absent", "Couldn't connect to \(path)/absent: No such file or directory, is there a passt with --repair-path \(path)/absent?"),
                ("\(path)/stale", "Couldn't connect to \(path)/stale: Connection refused, is there a passt with --repair-path \(path)/stale?"),
                (path, "Couldn't connect to \(path)/datagrams.repair: Protocol wrong type for socket, it must be a stream socket, as passt makes it"),
            ] {
                let error = #expect(throws: SetupError.self) { try RepairSocket.connect(to: place) }
                #expect(error?.message == message)
            }
        }
    }
}
