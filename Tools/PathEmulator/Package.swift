// swift-tools-version: 6.2
import PackageDescription

// The rules are those of the main package; it is a package of its own so that tests and benchmarks can both use it.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableExperimentalFeature("Lifetimes"),
    .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
]

let package = Package(
    name: "PathEmulator",
    products: [
        .library(name: "PathEmulator", targets: ["PathEmulator"]),
        .executable(name: "path-emulator", targets: ["path-emulator"]),
    ],
    targets: [
        .target(name: "CPathEmulator", cSettings: [.define("_GNU_SOURCE")]),
        .target(name: "PathEmulator", dependencies: ["CPathEmulator"], swiftSettings: strict),
        .executableTarget(name: "path-emulator", dependencies: ["PathEmulator"], swiftSettings: strict,
                          linkerSettings: [.unsafeFlags(["-static-executable"])]),
        .testTarget(name: "PathEmulatorTests", dependencies: ["PathEmulator"], swiftSettings: strict),
    ]
)
