import Linux
import Setup
import Testing
import Wire

@testable import RepairHelper

/// What passt and its helper say to each other, over a stream with sockets of the kernel. What switches them is the test's, where it does not say otherwise.
@Suite struct RepairServiceTests {
    private struct Switched: Equatable {
        let file: FileIdentity
        let mode: RepairMode
    }

    /// Passt says all that and no more. What comes back, and why the helper ends where it is not passt's end.
    private func exchange(
        _ messages: [DescriptorMessage], over pair: (Descriptor, Descriptor)? = nil, _ setRepair: RepairService.Switch
    ) throws -> (answers: [UInt8], problem: SetupError?) {
        let (passt, helper) = try pair ?? streamPair()
        defer { passt.close() }
        for message in messages { try DescriptorPassing.send(message, over: passt) }
        try passt.shutdown(1)  // SHUT_WR
        var problem: SetupError?
        do throws(SetupError) { try RepairService.serve(helper, setRepair) } catch { problem = error }
        helper.close()
        var answers: [UInt8] = []
        while let message = try DescriptorPassing.receive(over: passt, limit: 1) { answers += message.bytes }
        return (answers, problem)
    }

    @Test func threeCommandsAreKnown() {
        #expect((0...255).filter { RepairService.command(UInt8($0)) != nil } == [0, 1, 255])
        #expect(RepairService.command(1) == .on)
        #expect(RepairService.command(0) == .off)
        #expect(RepairService.command(0xff) == .offWithoutProbe)
    }

    /// The values are the kernel's (linux/tcp.h).
    @Test func valuesAreTheKernels() {
        #expect([RepairMode.off, .on, .offWithoutProbe].map(\.rawValue) == [0, 1, -1])
    }

    @Test func eachCommandIsForTheSocketsBesideIt() throws {
        let sockets = [try tcpSocket(), try tcpSocket(), try tcpSocket()]
        defer { for socket in sockets { socket.close() } }
        let files = try sockets.map { try $0.identity() }
        var switched: [Switched] = []
        let messages = [DescriptorMessage([1], sockets), DescriptorMessage([0xff], [sockets[1]]), DescriptorMessage([0], [sockets[2], sockets[0]])]
        let (answers, problem) = try exchange(messages) { (socket, mode) throws(Errno) in
            switched.append(Switched(file: try socket.identity(), mode: mode))
        }
        #expect(problem == nil && answers == [1, 0xff, 0])
        #expect(switched == [
            Switched(file: files[0], mode: .on), Switched(file: files[1], mode: .on), Switched(file: files[2], mode: .on),
            Switched(file: files[1], mode: .offWithoutProbe), Switched(file: files[2], mode: .off), Switched(file: files[0], mode: .off),
        ])
        for file in files { #expect(try descriptors(of: file) == 1) }
    }

    @Test func asManyAsTheKernelTakesComeAtOnce() throws {
        let socket = try tcpSocket()
        defer { socket.close() }
        let file = try socket.identity()
        var numbers: Set<Int32> = []
        var most = 0
        let (answers, problem) = try exchange([DescriptorMessage([1], [Descriptor](repeating: socket, count: 253))]) { (passed, _) throws(Errno) in
            if numbers.isEmpty { most = (try? descriptors(of: file)) ?? 0 }
            numbers.insert(passed.number)
        }
        #expect(problem == nil && answers == [1])
        #expect(numbers.count == 253 && most == 254)
        #expect(try descriptors(of: file) == 1)
    }

    @Test func noSocketsAreNoMistake() throws {
        let (answers, problem) = try exchange([DescriptorMessage([1]), DescriptorMessage([0])]) { (_, _) throws(Errno) in throw Errno(22) }
        #expect(problem == nil && answers == [1, 0])
    }

    @Test func passtMayEndAtOnce() throws {
        let (answers, problem) = try exchange([]) { (_, _) throws(Errno) in throw Errno(22) }
        #expect(problem == nil && answers.isEmpty)
    }

    // MARK: Failures

    @Test(arguments: [UInt8(2), 7, 0x7f, 0x80, 0xfe])
    func anUnknownCommandIsTheEnd(_ byte: UInt8) throws {
        let socket = try tcpSocket()
        defer { socket.close() }
        var isTouched = false
        let (answers, problem) = try exchange([DescriptorMessage([byte], [socket])]) { (_, _) throws(Errno) in isTouched = true }
        #expect(problem?.message == "Unknown command \(Int8(bitPattern: byte)): use the passt-repair that belongs to this passt")
        #expect(answers.isEmpty && !isTouched)
        #expect(try descriptors(of: try socket.identity()) == 1)
    }

    @Test func aSocketThatCannotBeSwitchedIsTheEnd() throws {
        let socket = try tcpSocket()
        defer { socket.close() }
        var count = 0
        let (answers, problem) = try exchange([DescriptorMessage([0], [socket, socket, socket])]) { (_, _) throws(Errno) in
            count += 1
            if count == 2 { throw Errno(22) }
        }
        #expect(problem?.message == "Couldn't switch TCP_REPAIR off: Invalid argument, is it a passt that sent this socket?")
        #expect(answers.isEmpty && count == 2)
        #expect(try descriptors(of: try socket.identity()) == 1)
    }

    /// The kernel's own no, which sockets that listen get from it whatever rights there are.
    @Test func whatIsMissingIsNamed() throws {
        let socket = try tcpSocket()
        defer { socket.close() }
        try socket.bind(SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), 0)))
        try socket.listen()
        let (answers, problem) = try exchange([DescriptorMessage([1], [socket])]) { (passed, mode) throws(Errno) in try passed.setRepairMode(mode) }
        #expect(problem?.message == "Couldn't switch TCP_REPAIR on: Operation not permitted, run passt-repair as root or with CAP_NET_ADMIN, "
            + "in the user namespace that owns passt's network")
        #expect(answers.isEmpty)
    }

    /// As for sockets that were cut off, which a test cannot bring about for itself alone: a message of two bytes does not fit either.
    @Test func whatIsCutOffIsTheEnd() throws {
        let socket = try tcpSocket()
        defer { socket.close() }
        let (answers, problem) = try exchange([DescriptorMessage([1, 1], [socket])], over: try DescriptorPassing.pair()) { (_, _) throws(Errno) in }
        #expect(problem?.message.hasPrefix("Not all sockets of a command came across") == true)
        #expect(answers.isEmpty)
        #expect(try descriptors(of: try socket.identity()) == 1)
    }
}
