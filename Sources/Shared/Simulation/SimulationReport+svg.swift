import MailModel

/// The report as a chart: what left each day by provider, under the sum of the caps, and deferrals; below, what was still there
/// at midnight.
extension SimulationReport {
  private static let colours = [
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0",
  ]
  private static let width = 960
  private static let left = 80
  private static let right = 940

  package var svg: String {
    var chart = SVGText(width: Self.width, height: 640)
    chart.text(Self.left, 24, "What leaves each day (bars) and what is deferred (red line)", size: 16)
    legend(&chart)
    let most = days.map { day in max(day.delivered, day.deferred, capSum(day) ?? 0) }.max() ?? 0
    let upper = Axis(top: 70, bottom: 330, most: most)
    upper.draw(&chart, Self.left, Self.right)
    for (index, day) in days.enumerated() { bars(day, index, upper, &chart) }
    caps(upper, &chart)
    chart.line(days.enumerated().map { (middle($0.offset), upper.y($0.element.deferred)) }, "#c00")
    chart.text(Self.left, 384, "Left at midnight", size: 16)
    let lower = Axis(top: 404, bottom: 580, most: days.map(\.left).max() ?? 0)
    lower.draw(&chart, Self.left, Self.right)
    area(lower, &chart)
    for index in days.indices where days.count <= 31 || index % 10 == 9 { chart.text(middle(index), 598, "\(index + 1)", anchor: "middle") }
    chart.text(Self.left, 626, summary, size: 11)
    return chart.finished
  }

  private var step: Double { Double(Self.right - Self.left) / Double(max(1, days.count)) }
  private func x(_ index: Int) -> Int { Self.left + Int(Double(index) * step) }
  private func middle(_ index: Int) -> Int { Self.left + Int((Double(index) + 0.5) * step) }

  /// Nil as soon as one IP is without a cap.
  private func capSum(_ day: Day) -> Int? {
    var sum = 0
    for ip in day.ips {
      guard let cap = ip.cap else { return nil }
      sum += cap
    }
    return sum
  }

  private func legend(_ chart: inout SVGText) {
    var x = Self.left
    for (index, provider) in providers.enumerated() {
      chart.box(x, 38, 12, 12, Self.colours[index % Self.colours.count])
      chart.text(x + 17, 49, provider.rawValue)
      x += 30 + 8 * provider.rawValue.utf8.count
    }
    chart.line([(x, 44), (x + 20, 44)], "#333", dashed: true)
    chart.text(x + 26, 49, "sum of the caps")
  }

  private func bars(_ day: Day, _ index: Int, _ axis: Axis, _ chart: inout SVGText) {
    var sum = 0
    let wide = max(1, x(index + 1) - x(index) - (days.count > 60 ? 0 : 3))
    for provider in providers.indices {
      let sent = day.ips.reduce(0) { $0 + $1.cells[provider].delivered }
      guard sent > 0 else { continue }
      let (low, high) = (axis.y(sum), axis.y(sum + sent))
      chart.box(x(index) + 1, high, wide, low - high, Self.colours[provider % Self.colours.count])
      sum += sent
    }
  }

  private func caps(_ axis: Axis, _ chart: inout SVGText) {
    var points: [(Int, Int)] = []
    for (index, day) in days.enumerated() {
      guard let cap = capSum(day) else { break }
      points += [(x(index), axis.y(cap)), (x(index + 1), axis.y(cap))]
    }
    chart.line(points, "#333", dashed: true)
  }

  private func area(_ axis: Axis, _ chart: inout SVGText) {
    let points = days.enumerated().map { (middle($0.offset), axis.y($0.element.left)) }
    guard let first = points.first, let last = points.last else { return }
    chart.area([(first.0, axis.bottom)] + points + [(last.0, axis.bottom)], "#97bbf5")
  }
}

/// A vertical scale from 0 to `most`.
private struct Axis {
  let top: Int
  let bottom: Int
  let most: Int

  init(top: Int, bottom: Int, most: Int) {
    self.top = top
    self.bottom = bottom
    self.most = max(1, most)
  }

  func y(_ value: Int) -> Int { bottom - (bottom - top) * value / most }

  /// Steps of 1, 2 or 5 times a power of ten, five at most.
  private var step: Int {
    var unit = 1
    while true {
      for factor in [1, 2, 5] where most / (unit * factor) <= 5 { return unit * factor }
      unit *= 10
    }
  }

  func draw(_ chart: inout SVGText, _ left: Int, _ right: Int) {
    for value in stride(from: 0, through: most, by: step) {
      chart.line([(left, y(value)), (right, y(value))], value == 0 ? "#333" : "#ddd")
      chart.text(left - 6, y(value) + 4, "\(value)", anchor: "end")
    }
  }
}

/// Just enough SVG.
private struct SVGText {
  private var text: String

  init(width: Int, height: Int) {
    text =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(width) \(height)\" font-family=\"sans-serif\">\n"
      + "<rect width=\"\(width)\" height=\"\(height)\" fill=\"#fff\"/>\n"
  }

  var finished: String { text + "</svg>\n" }

  mutating func text(_ x: Int, _ y: Int, _ words: String, size: Int = 12, anchor: String = "start") {
    let safe = words.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
    text += "<text x=\"\(x)\" y=\"\(y)\" font-size=\"\(size)\" text-anchor=\"\(anchor)\">\(safe)</text>\n"
  }

  mutating func box(_ x: Int, _ y: Int, _ width: Int, _ height: Int, _ colour: String) {
    text += "<rect x=\"\(x)\" y=\"\(y)\" width=\"\(width)\" height=\"\(height)\" fill=\"\(colour)\"/>\n"
  }

  mutating func line(_ points: [(Int, Int)], _ colour: String, dashed: Bool = false) {
    let dash = dashed ? " stroke-dasharray=\"5 3\"" : ""
    text += "<polyline points=\"\(Self.list(points))\" fill=\"none\" stroke=\"\(colour)\"\(dash)/>\n"
  }

  mutating func area(_ points: [(Int, Int)], _ colour: String) {
    text += "<polygon points=\"\(Self.list(points))\" fill=\"\(colour)\"/>\n"
  }

  private static func list(_ points: [(Int, Int)]) -> String { points.map { "\($0.0),\($0.1)" }.joined(separator: " ") }
}
