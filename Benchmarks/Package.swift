// swift-tools-version: 6.2
import PackageDescription

// A package of its own: what it depends on must never reach the programs that it measures.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
]

let package = Package(
    name: "Benchmarks",
    dependencies: [
        .package(path: "../Tools/PathEmulator"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .target(name: "CLoad", cSettings: [.define("_GNU_SOURCE")]),
        // The load generator. Static, so that it starts as fast as what is measured with it.
        .executableTarget(
            name: "load",
            dependencies: ["CLoad", .product(name: "Histogram", package: "hdrhistogram-swift")],
            swiftSettings: strict, linkerSettings: [.unsafeFlags(["-static-executable"])]),
        // What builds the namespaces, runs the peers in turn and writes the table and the chart.
        .executableTarget(
            name: "bench",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "path-emulator", package: "PathEmulator"),
                "load",
            ],
            swiftSettings: strict),
    ]
)
