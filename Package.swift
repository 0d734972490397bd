// swift-tools-version: 6.2
import PackageDescription

// Every target is built with the same rules. CONTRIBUTING.md says why each of them is there.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    // Glibc declares mmsghdr, setns, splice and friends only with _GNU_SOURCE. It must be the same for
    // every target, or two of them import different versions of the same header.
    .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
]

// Targets that own memory hand out spans into it.
let lifetimes: [SwiftSetting] = strict + [.enableExperimentalFeature("Lifetimes")]

// The programs that are installed: one file each, without shared libraries. The address sanitizer is one (`Scripts/test address`).
let programLinkage: [LinkerSetting] = Context.environment["SWIFT_PASST_SANITIZE"] != nil ? [] : [
    .unsafeFlags(["-static-executable"]),
    .unsafeFlags(["-Xlinker", "-s", "-Xlinker", "--gc-sections"], .when(configuration: .release)),
]

let package = Package(
    name: "swift-passt",
    products: [
        .executable(name: "pasta", targets: ["pasta"]),
        .executable(name: "pesto", targets: ["pesto"]),
        .executable(name: "passt-repair", targets: ["passt-repair"]),
        .executable(name: "qrap", targets: ["qrap"]),
    ],
    targets: [
        // From the bottom: every target may import only what stands above it here.
        .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "Wire", swiftSettings: lifetimes),
        .target(name: "Linux", dependencies: ["CLinux", "Wire"], swiftSettings: lifetimes),
        .target(name: "Settings", dependencies: ["Wire"], swiftSettings: strict),
        .target(name: "Setup", dependencies: ["Settings", "Linux", "Wire"], swiftSettings: strict),
        .target(name: "Datapath", dependencies: ["Settings", "Linux", "Wire"], swiftSettings: lifetimes),
        .target(name: "Daemon", dependencies: ["Setup", "Datapath", "Settings", "Linux", "Wire"], swiftSettings: strict),
        .executableTarget(
            name: "pasta", dependencies: ["Daemon", "Linux"], swiftSettings: strict, linkerSettings: programLinkage),

        // The client that changes forwarded ports.
        .target(name: "PortClient", dependencies: ["Setup", "Settings", "Linux", "Wire"], swiftSettings: strict),
        .executableTarget(
            name: "pesto", dependencies: ["PortClient", "Linux"], swiftSettings: strict, linkerSettings: programLinkage),

        // The helper that switches TCP_REPAIR for passt.
        .target(name: "RepairHelper", dependencies: ["Setup", "Linux"], swiftSettings: strict),
        .executableTarget(
            name: "passt-repair", dependencies: ["RepairHelper", "Linux"], swiftSettings: strict, linkerSettings: programLinkage),

        // The wrapper for old versions of QEMU.
        .target(name: "QEMUWrapper", dependencies: ["Linux"], swiftSettings: strict),
        .executableTarget(
            name: "qrap", dependencies: ["QEMUWrapper", "Linux"], swiftSettings: strict, linkerSettings: programLinkage),

        // Writes the shells' completion files, from the option table.
        .target(name: "Completion", dependencies: ["PortClient", "RepairHelper", "Setup", "Settings"], swiftSettings: strict),
        .executableTarget(name: "completions", dependencies: ["Completion", "Linux", "CLinux"], swiftSettings: strict),

        // Stands before malloc in the unit tests' program, and counts.
        .target(name: "CAllocations", path: "Tests/CAllocations"),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: strict),
        .testTarget(name: "LinuxTests", dependencies: ["Linux", "Wire"], swiftSettings: strict),
        .testTarget(name: "SetupTests", dependencies: ["PortClient", "Setup", "Settings", "Linux", "Wire"], swiftSettings: strict),
        .testTarget(name: "DaemonTests", dependencies: ["Daemon", "Setup", "Datapath", "Settings", "Linux"], swiftSettings: strict),
        // Runs the built program between hosts made of namespaces; only Scripts/test can start it.
        .testTarget(name: "EndToEndTests", exclude: ["Helpers"], swiftSettings: strict),
        // Manual pages, completions, qrap. They use Foundation, so nothing here may import Linux: two definitions of one structure.
        .testTarget(name: "PackagingTests", dependencies: ["Completion", "QEMUWrapper", "Settings"], swiftSettings: strict),
        .testTarget(name: "PortClientTests", dependencies: ["PortClient", "Setup", "Settings", "Linux", "Wire"], swiftSettings: strict),
        .testTarget(name: "RepairHelperTests", dependencies: ["RepairHelper", "Setup", "Linux", "Wire"], swiftSettings: strict),
        .testTarget(
            name: "DatapathTests", dependencies: ["Datapath", "Settings", "Linux", "Wire", "CAllocations"], swiftSettings: lifetimes),
    ]
)

// For Scripts/simulate: the optimizer needs minutes for what is nothing but tests, so this takes the models and what runs them.
if Context.environment["SWIFT_PASST_SIMULATION"] != nil {
    let needed = ["CLinux", "CAllocations", "Wire", "Linux", "Settings", "Datapath", "DatapathTests"]
    package.products = []
    package.targets.removeAll { !needed.contains($0.name) }
    package.targets.first { $0.name == "DatapathTests" }?.sources = [
        "Abuse/AbuseHost.swift", "Dispatch/AllocationLimit.swift", "Dispatch/AllocationTests.swift", "Dispatch/LiveConnection.swift",
        "Dispatch/LiveForwarder.swift", "Dispatch/LiveGuest.swift", "Flow/SeededRandom.swift", "Link/MachineAllocationTests.swift",
        "Link/MachineLinkSupport.swift", "Link/MachineRunsTests.swift", "Link/SegmentCutterTests.swift", "Link/UnlendableMemory.swift",
        "Link/VhostAllocationTests.swift", "Link/VhostDriver.swift", "LocalDHCPTests.swift",
        "LocalDHCPv6Tests.swift", "LocalNeighbourTests.swift", "LocalTestSupport.swift", "Ports/InboundAllocationTests.swift",
        "RecordingLink.swift", "Splice/BypassAllocationTests.swift", "Splice/SocketSupplyTests.swift", "Splice/SpliceLab.swift", "TCP/FlowChecks.swift",
        "TCP/HostSocket.swift", "TCP/LossRecovery.swift", "TCP/ModelGuest+Input.swift", "TCP/ModelGuest.swift", "TCP/ScriptedSockets.swift",
        "TCP/SegmentLink.swift", "TCP/SimulationPlan.swift", "TCP/TCPScript.swift", "TCP/TCPSimulation+Link.swift", "TCP/TCPSimulation.swift",
        "TCP/TCPSimulationTests.swift", "UDPTestSupport.swift",
    ]
}

// The fuzzer's program needs internals of every module, and instrumentation that nothing else should have: Scripts/fuzz.
if Context.environment["SWIFT_PASST_FUZZ"] != nil {
    package.products.append(.executable(name: "fuzz", targets: ["fuzz"]))
    package.targets.append(
        .executableTarget(
            name: "fuzz", dependencies: ["Setup", "Datapath", "RepairHelper", "Settings", "Linux", "CLinux", "Wire"], path: "Fuzz/Sources",
            swiftSettings: lifetimes + [.unsafeFlags(["-parse-as-library"])]))
}
