import QEMUWrapper
import Testing

/// What qrap makes of a command line.
@Suite struct QEMUCommandTests {
    static let usual = ["qemu-system-x86_64", "qemu-kvm", "kvm"]

    private func command(_ line: String, programs: Set<String> = ["kvm", "./qemu", "qemu-system-s390x"]) throws -> QEMUCommand {
        try QEMUCommand(line.split(separator: " ").map(String.init), usual: Self.usual, isProgram: programs.contains)
    }

    @Test("Command lines", arguments: [
        // With a number and a name; what the command says about the number is left alone.
        ("5 kvm -m 1024 -net socket,fd=5 -net nic,model=virtio", 5, "kvm -m 1024 -net socket,fd=5 -net nic,model=virtio"),
        ("7 kvm -netdev socket,id=n,fd=7 -device e1000,netdev=n", 7, "kvm -netdev socket,id=n,fd=7 -device e1000,netdev=n"),
        ("5 kvm --netdev type=socket,fd=5,id=n", 5, "kvm --netdev type=socket,fd=5,id=n"),
        ("9 kvm disk.qcow2", 9, "kvm disk.qcow2 -netdev socket,fd=9,id=passt0 -device virtio-net-pci,netdev=passt0"),
        ("9 kvm -netdev socket,fd=5,id=n", 9, "kvm -netdev socket,fd=5,id=n -netdev socket,fd=9,id=passt0 -device virtio-net-pci,netdev=passt0"),
        // Even where the name cannot be run: execvp says why.
        ("5 absent -m 1024", 5, "absent -m 1024 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
        // Without a number: what the command uses, else 5.
        ("kvm -netdev socket,fd=8,id=n", 8, "kvm -netdev socket,fd=8,id=n"),
        ("./qemu -m 1024", 5, "./qemu -m 1024 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
        ("qemu-system-s390x", 5, "qemu-system-s390x -netdev socket,fd=5,id=passt0 -device virtio-net-ccw,netdev=passt0"),
        // Without either.
        ("disk.qcow2 -m 1024", 5, "kvm disk.qcow2 -m 1024 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
        ("-m 1024", 5, "kvm -m 1024 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
        // Other networks of the command do not count, nor do values of other options.
        ("kvm -netdev user,id=u -name socket,fd=5", 5, "kvm -netdev user,id=u -name socket,fd=5 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
        ("kvm -netdev socket,id=n,listen=:1234", 5, "kvm -netdev socket,id=n,listen=:1234 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0"),
    ])
    func lines(_ line: String, _ descriptor: Int32, _ expected: String) throws {
        let result = try command(line)
        #expect(result.words.joined(separator: " ") == expected)
        #expect(result.descriptor == descriptor)
        #expect(!result.isQuestion)
    }

    /// libvirt asks before it starts anything; no passt need run for an answer.
    @Test("Questions", arguments: [
        "kvm -version", "kvm --version", "-help", "kvm -h", "kvm -S -nodefaults -machine none,accel=kvm:tcg -qmp unix:/x,server", "kvm -M none",
        "kvm -machine help", "kvm -cpu help", "kvm -device ?",
    ])
    func questions(_ line: String) throws {
        let result = try command(line)
        #expect(result.isQuestion && !result.words.contains("-netdev"))
    }

    @Test("Mistakes", arguments: [
        ("", QEMUCommand.Problem.noCommand), ("5", .noCommand), ("2 kvm", .badDescriptor("2")), ("1024 kvm", .badDescriptor("1024")),
        ("99999999999 kvm", .badDescriptor("99999999999")),
    ])
    func mistakes(_ line: String, _ problem: QEMUCommand.Problem) {
        #expect(throws: problem) { try command(line) }
    }

    @Test func noQEMU() {
        #expect(throws: QEMUCommand.Problem.noQEMU(Self.usual)) { try command("-m 1024", programs: []) }
    }
}
