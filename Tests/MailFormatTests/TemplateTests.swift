import MailModel
import Testing

@testable import MailFormat

@Suite struct TemplateTests {
  static let values = ["name": "Ann & <Bob>", "x": "{{name}}", "a.b-c_1": "ok", "empty": ""]

  /// Text, filled with escaping, filled without.
  static let table: [(String, String, String)] = [
    ("Hi {{name}}!", "Hi Ann &amp; &lt;Bob&gt;!", "Hi Ann & <Bob>!"),
    ("{{{name}}}", "Ann & <Bob>", "Ann & <Bob>"),
    ("{{ name }}{{a.b-c_1}}", "Ann &amp; &lt;Bob&gt;ok", "Ann & <Bob>ok"),
    // A value is never looked through again.
    ("{{x}}", "{{name}}", "{{name}}"),
    ("{{{x}}}", "{{name}}", "{{name}}"),
    ("[{{empty}}]", "[]", "[]"),
    // What is no name stands for itself.
    (
      "{{}} {{ }} {{a b}} {{#if}} {name} {{name} {{name", "{{}} {{ }} {{a b}} {{#if}} {name} {{name} {{name",
      "{{}} {{ }} {{a b}} {{#if}} {name} {{name} {{name"
    ),
    ("{{{{empty}}}}", "{}", "{}"),
    ("style{a{b:c}}", "style{a{b:c}}", "style{a{b:c}}"),
    ("ü{{a.b-c_1}}é", "üoké", "üoké"),
    ("{{{empty}}", "{", "{"),
    ("", "", ""),
  ]

  @Test(arguments: table.indices) func fills(index: Int) {
    let (text, escaped, verbatim) = Self.table[index]
    #expect(Template.fill(text, Self.values, escapes: true) == escaped)
    #expect(Template.fill(text, Self.values, escapes: false) == verbatim)
  }

  @Test func namesAreFoundWhereverTheyStand() {
    var content = MessageContent(authorName: nil, authorAddress: "a@b.example", subject: "{{s}}")
    content.html = "<p>{{h}} {{{r}}}</p>"
    content.text = "{{t}}"
    content.amp = "{{a}}"
    content.headers = [HeaderField(name: "X-A", value: "{{v}}")]
    let names = Template.names(of: content)
    #expect(names.all == ["s", "h", "r", "t", "a", "v"])
    #expect(names.inHeaders == ["s", "v"])
    let filled = Template.fill(content, names.all.map { .init(name: $0, value: "<\($0)>") })
    #expect(filled.subject == "<s>" && filled.html == "<p>&lt;h&gt; <r></p>" && filled.text == "<t>" && filled.headers[0].value == "<v>")
  }
}
