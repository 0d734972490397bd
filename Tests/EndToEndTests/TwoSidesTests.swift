import Testing

/// A host with two ways out, and clients at the end of both.
@Suite struct TwoSidesTests {
    /// Who is served: everybody, or who comes by one of the interfaces.
    enum Scope: String, CaseIterable {
        case everybody = ""
        case first = "%wan0/"
        case second = "%wan1/"
    }

    /// By whichever of the host's addresses a client comes, it is seen as itself, and answered from where it asked.
    @Test(arguments: Scope.allCases, Family.allCases)
    func clientsOfBothSidesAreServed(_ scope: Scope, _ family: Family) throws {
        try withNetwork { network in
            let far = try network.addFarSide()
            let spec = scope.rawValue + "8080:4000"
            let guest = try network.guest(["--config-net", "-t", spec, "-u", spec])
            try guest.serveTests()
            let sides: [(host: Host, address: String, isServed: Bool)] = [
                (network.remote, family.server, scope != .second), (far, family.farClient, scope != .first),
            ]
            for contacted in [family.hostAddress, family.otherHostAddress] {
                for side in sides where side.isServed {
                    #expect(try side.host.client("ask", contacted, 8080, "whoami").check().text == side.address)
                    #expect(try side.host.client("udp-ask", contacted, 8080, "whoami").check().text == side.address)
                    try side.host.client("duplex", contacted, 8080, 1 << 20).check()
                    try side.host.client("udp-sizes", contacted, 8080, 0, 1, 1400, 1473, 9000).check()
                }
                for side in sides where !side.isServed {
                    #expect(try side.host.client("error", contacted, 8080).check().text.hasPrefix("ECONNREFUSED"))
                    #expect(try side.host.client("udp-error", contacted, 8080).check().text == "ECONNREFUSED")
                }
            }
        }
    }

    /// Clients of both sides, at both addresses, all at once.
    @Test(arguments: Family.allCases)
    func bothSidesAtOnce(_ family: Family) throws {
        try withNetwork { network in
            let far = try network.addFarSide()
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000"])
            try guest.serveTests()
            let client = ["python3", Helpers.path("client.py")]
            let hosts: [Host] = [network.remote, far]
            let clients: [Child] = try hosts.flatMap { host in
                try [family.hostAddress, family.otherHostAddress].flatMap { address in
                    [
                        try host.start(client + ["udp-flows", address, "8080", "100"]),
                        try host.start(client + ["parallel", address, "8080", "20", "100000"]),
                    ]
                }
            }
            for client in clients { try client.wait().check() }
        }
    }

    /// The guest reaches whoever the host's routes lead to.
    @Test(arguments: Family.allCases)
    func theGuestReachesBothSides(_ family: Family) throws {
        try withNetwork { network in
            let far = try network.addFarSide()
            try network.remote.serveTests()
            try far.serveTests()
            let guest = try network.guest()
            for (server, seen) in [(family.server, family.hostAddress), (family.farClient, family.otherHostAddress)] {
                #expect(try guest.client("ask", server, 4000, "whoami").check().text == seen)
                #expect(try guest.client("udp-ask", server, 4000, "whoami").check().text == seen)
            }
        }
    }
}
