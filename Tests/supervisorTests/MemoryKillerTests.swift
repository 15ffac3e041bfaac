import Testing

@testable import supervisor

@Suite struct MemoryKillerTests {
  @Test func isReadFromTheKernelsCounters() {
    #expect(MemoryKiller.count(in: "nr_free_pages 1\noom_kill 12\noom_kills 3\n") == 12)
    #expect(MemoryKiller.count(in: "nr_free_pages 1\n") == nil)
    #expect(MemoryKiller.count() != nil)
  }
}
