import ArgumentParser
import GRDB
import Hummingbird
import AsyncHTTPClient
@main struct Supervisor: AsyncParsableCommand {
  mutating func run() async throws {}
}
