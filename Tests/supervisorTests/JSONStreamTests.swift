import Foundation
import Testing

@testable import supervisor

@Suite struct JSONStreamTests {
  /// Read in pieces of every size from 1 on: the same events each time.
  func read(_ text: String, piece: Int) throws -> [JSONStream.Event] {
    var stream = JSONStream(lists: ["list"])
    var events: [JSONStream.Event] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: piece) {
      try stream.feed(bytes[start..<min(start + piece, bytes.count)]) { events.append($0) }
    }
    try stream.finish()
    return events
  }

  func show(_ events: [JSONStream.Event]) -> [String] {
    events.map { event in
      switch event {
      case .listBegins(let name): "[\(name)"
      case .element(let name, let bytes): "\(name): \(String(decoding: bytes, as: UTF8.self))"
      case .member(let name, let bytes): "\(name)= \(String(decoding: bytes, as: UTF8.self))"
      }
    }
  }

  @Test(arguments: [1, 2, 3, 7, 1000]) func handsOutMembersAndElements(piece: Int) throws {
    let text = #" {"a": {"x":[1,2,"]"]}, "list" : [ {"k":"v\"}"} ,2.5e-3,"s",[ ],null ] ,"b":true,"c":"\u00e9\\" , "list2":[1]}"# + "\n"
    #expect(
      show(try read(text, piece: piece)) == [
        #"a= {"x":[1,2,"]"]}"#, "[list", #"list: {"k":"v\"}"}"#, "list: 2.5e-3", #"list: "s""#, "list: [ ]", "list: null", "b= true",
        #"c= "\u00e9\\""#, "list2= [1]",
      ])
    #expect(show(try read("{}", piece: piece)).isEmpty)
    #expect(show(try read(#"{"list":[]}"#, piece: piece)) == ["[list"])
  }

  @Test(arguments: [
    "", " ", "[]", "1", "{", "}", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{\"a\":01}", "{\"a\":1.}",
    "{\"a\":+1}", "{\"a\":tru}", "{\"a\":nul}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"list\":[1,]}", "{\"list\":[1}", "{\"list\":[1]",
    "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\n\"}", "{a:1}", "{'a':1}", "{\"a\":1}}", "{\"a\":1} x", "{\"a\":-}", "{\"a\":1e}",
    "{\"list\":[{\"x\":1]}", "{\"a\":NaN}", "{\"a\"::1}",
  ])
  func refusesWhatIsNoJSONObject(text: String) {
    #expect(throws: JSONStream.Fault.self) { try read(text, piece: 1) }
    #expect(throws: JSONStream.Fault.self) { try read(text, piece: 1000) }
  }

  @Test func refusesBottomlessNesting() {
    #expect(throws: JSONStream.Fault.tooDeep) { try read("{\"a\":" + String(repeating: "[", count: 100), piece: 10) }
  }

  /// What Foundation takes for JSON and what we take is the same, over many broken variants of a good document.
  @Test func agreesWithFoundation() throws {
    let good = Array(#"{"list":[{"a":"b","n":-1.5e2},{"t":true,"z":null}],"k":[],"s":"x\ny"}"#.utf8)
    for index in good.indices {
      for byte in Array(#"{}[]",:0-x\ "#.utf8) {
        var changed = good
        changed[index] = byte
        let text = String(decoding: changed, as: UTF8.self)
        let theirs = (try? JSONSerialization.jsonObject(with: Data(changed))) is [String: Any]
        let ours = (try? read(text, piece: 5)) != nil
        #expect(ours == theirs, "\(text)")
      }
    }
  }
}
