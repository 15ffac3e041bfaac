// swift-tools-version: 6.2
import PackageDescription

/// One set of compiler settings for every target: Swift 6 rules, warnings are errors, imports internal unless a
/// module's package interface needs them, and async functions stay on their caller's executor.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let nio: [Target.Dependency] = [
  .product(name: "NIOCore", package: "swift-nio"),
  .product(name: "NIOPosix", package: "swift-nio"),
  .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
]
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let lifecycle: [Target.Dependency] = [
  .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
  .product(name: "UnixSignals", package: "swift-service-lifecycle"),
]

/// A module under `Sources/Shared`.
func shared(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Sources/Shared/\(name)", resources: resources,
    swiftSettings: settings)
}

/// A C library of the operating system, by module map.
func system(_ name: String, apt: String) -> Target {
  .systemLibrary(name: name, path: "Sources/System/\(name)", providers: [.apt([apt])])
}

/// The tests of one target.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)Tests", swiftSettings: settings)
}

let package = Package(
  name: "owlat-mta",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "supervisor", targets: ["supervisor"]),
    .executable(name: "ipworker", targets: ["ipworker"]),
    .executable(name: "mailbench", targets: ["mailbench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    system("COpenSSL", apt: "libssl-dev"),
    system("CHiredis", apt: "libhiredis-dev"),
    system("CUnbound", apt: "libunbound-dev"),
    system("CSystemd", apt: "libsystemd-dev"),
    system("CZstd", apt: "libzstd-dev"),
    .target(name: "CShims", path: "Sources/System/CShims"),

    shared("MailModel"),
    shared("DeliveryPolicy", ["MailModel"]),
    shared("Simulation", ["MailModel", "DeliveryPolicy"]),
    shared("MailFormat", ["MailModel", "COpenSSL", "CZstd", "CShims"]),
    shared("MIME"),
    shared("Feedback", ["DeliveryPolicy", "MIME"]),
    shared("SMTPProtocol", ["MailModel"]),
    shared("TLS", nio + ["COpenSSL", "CShims"]),
    shared("SMTPClient", nio + ["MailModel", "SMTPProtocol", "TLS"]),
    shared("SMTPServer", nio + ["MailModel", "SMTPProtocol", "TLS"]),
    shared("DNS", ["CUnbound"]),
    shared("RedisFunctions", resources: [.embedInCode("mta.lua")]),
    shared("Redis", nio + ["MailModel", "RedisFunctions", "CHiredis"]),
    shared("Journal", ["MailModel", "CShims"]),
    shared("ControlProtocol", nio + ["MailModel"]),
    shared("MTAConfig", ["MailModel", "DeliveryPolicy", "Yams"]),
    shared("Observability", [logging, "CSystemd", "CShims"]),

    .executableTarget(
      name: "ipworker",
      dependencies: nio + [
        "MailModel", "MailFormat", "SMTPProtocol", "SMTPClient", "TLS", "Redis", "Journal", "ControlProtocol",
        "Observability", "CShims", logging, deque,
      ], path: "Sources/ipworker", swiftSettings: settings),
    .executableTarget(
      name: "supervisor",
      dependencies: nio + lifecycle + [
        "MailModel", "DeliveryPolicy", "Simulation", "MailFormat", "MIME", "Feedback", "SMTPProtocol", "SMTPServer", "TLS", "DNS", "Redis",
        "Journal",
        "ControlProtocol", "MTAConfig", "Observability", "CShims", logging, deque,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
      ], path: "Sources/supervisor", swiftSettings: settings),
    .executableTarget(
      name: "mailbench",
      dependencies: nio + [
        "SMTPServer", "SMTPProtocol", "MailModel",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "Benchmarks/mailbench", swiftSettings: settings),

    .target(
      name: "TestSupport",
      dependencies: nio + [
        "SMTPServer", "TLS", "MailModel", "Redis", "Observability", "CShims",
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Hummingbird", package: "hummingbird"),
      ], path: "Tests/TestSupport", swiftSettings: settings),
    tests("MailModel", ["MailModel"]),
    tests("DeliveryPolicy", ["DeliveryPolicy", "MailModel"]),
    tests("Simulation", ["Simulation", "DeliveryPolicy", "MailModel"]),
    tests("MailFormat", ["TestSupport", "MailFormat", "MailModel"]),
    tests("Feedback", ["Feedback", "MIME", "DeliveryPolicy"]),
    tests("SMTPProtocol", ["SMTPProtocol", "MailModel"]),
    tests("SMTPClient", nio + ["SMTPClient", "SMTPServer", "MailModel", "TLS", "TestSupport"]),
    tests("SMTPServer", nio + ["SMTPServer", "SMTPProtocol", "MailModel", "TLS", "TestSupport"]),
    tests("Journal", ["Journal", "MailModel", "TestSupport"]),
    tests("Redis", nio + ["Redis", "RedisFunctions", "MailModel", "Observability", "TestSupport"]),
    tests("MTAConfig", ["MTAConfig", "MailModel", "DeliveryPolicy"]),
    tests(
      "supervisor",
      nio + [
        "supervisor", "MailModel", "MailFormat", "DeliveryPolicy", "Journal", "Redis", "DNS", "ControlProtocol", "MTAConfig",
        "Observability",
        "SMTPProtocol", "SMTPServer", "TestSupport", logging,
      ]),
    tests("Integration", nio + ["TestSupport", "SMTPServer", "MailFormat", "MailModel", "TLS"]),
  ]
)
