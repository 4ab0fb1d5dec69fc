#!/usr/bin/env python3
"""Computes yearly weather figures from data.csv and draws them on one A4 page.

Reads data.csv and state.json from its own folder; writes report.html and, last, figures.json.
Only the standard library is needed.
"""
import csv
import html
import json
import os
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
RAIN, HIGH, LOW, INK, GRID = "#3b7dd8", "#d9480f", "#e8a33d", "#1f2937", "#e2e6ec"


def read_days(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames]
        for row in reader:
            if not (row.get("date") or "").strip():
                continue
            year, month, _ = row["date"].strip().replace("-", "/").split("/")
            yield (int(year), int(month), float(row["precipitation"]), float(row["temp_max"]), float(row["temp_min"]))


def figures_of(days):
    rain = [day[2] for day in days]
    highs = [day[3] for day in days]
    lows = [day[4] for day in days]
    return {
        "days": len(days),
        "precipitation_mm": round(sum(rain), 1),
        "rainy_days": sum(1 for amount in rain if amount > 0),
        "mean_temp_max": round(sum(highs) / len(highs), 4),
        "mean_temp_min": round(sum(lows) / len(lows), 4),
    }


def nice_step(span, steps):
    raw = max(span, 1e-9) / steps
    size = 10 ** len(str(int(raw))) / 10 if raw >= 1 else 1
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)


def number(value):
    return f"{value:g}"


def chart(labels, rain, lines, width, height, caption, rain_max, temp_min, temp_max):
    """Bars of rain on the left axis, lines of temperature on the right one, both labelled with their unit.

    Months without data have neither bar nor point. The extremes are given, so that charts side by side share their scales.
    """
    left, right, top, bottom = 46, 42, 26, 34
    inner_w, inner_h = width - left - right, height - top - bottom
    rain_step = nice_step(rain_max, 4)
    rain_top = rain_step * max(1, -(-rain_max // rain_step))
    temp_step = nice_step(temp_max - min(temp_min, 0), 4)
    temp_low = temp_step * (min(temp_min, 0) // temp_step)
    temp_top = max(temp_low + temp_step, temp_step * -(-temp_max // temp_step))
    slot = inner_w / len(labels)

    def y_rain(value):
        return top + inner_h * (1 - value / rain_top)

    def y_temp(value):
        return top + inner_h * (1 - (value - temp_low) / (temp_top - temp_low))

    out = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(caption)}">']
    out.append('<text x="0" y="12" class="axis">Rain (mm)</text>')
    out.append(f'<text x="{width}" y="12" class="axis" text-anchor="end">Temperature (°C)</text>')
    tick = 0
    while tick * rain_step <= rain_top + 1e-9:
        y = y_rain(tick * rain_step)
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="{GRID}"/>')
        out.append(f'<text x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{number(tick * rain_step)}</text>')
        tick += 1
    tick = 0
    while temp_low + tick * temp_step <= temp_top + 1e-9:
        value = temp_low + tick * temp_step
        out.append(f'<text x="{width - right + 6}" y="{y_temp(value) + 3.5:.1f}">{number(value)}</text>')
        tick += 1
    bar = min(slot * 0.6, 70)
    for at, (label, amount) in enumerate(zip(labels, rain)):
        middle = left + slot * (at + 0.5)
        if amount is not None:
            y = y_rain(amount)
            out.append(f'<rect x="{middle - bar / 2:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{top + inner_h - y:.1f}" rx="2" fill="{RAIN}"/>')
        out.append(f'<text x="{middle:.1f}" y="{height - 16}" text-anchor="middle">{html.escape(str(label))}</text>')
    for _, colour, series in lines:
        points = [(left + slot * (at + 0.5), y_temp(value)) for at, value in enumerate(series) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="white" stroke-width="5" stroke-linejoin="round"/>')
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>')
        out.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" fill="{colour}" stroke="white"/>' for x, y in points)
    out.append("</svg>")
    return "".join(out)


def legend(entries):
    marks = (f'<span><svg viewBox="0 0 12 12"><rect width="12" height="12" rx="2" fill="{colour}"/></svg>{html.escape(name)}</span>' for name, colour in entries)
    return f'<p class="legend">{"".join(marks)}</p>'


def overview(years):
    labels = [entry["year"] for entry in years]
    rain = [entry["precipitation_mm"] for entry in years]
    lines = [
        ("Mean daily high", HIGH, [entry["mean_temp_max"] for entry in years]),
        ("Mean daily low", LOW, [entry["mean_temp_min"] for entry in years]),
    ]
    temperatures = [value for _, _, series in lines for value in series]
    drawing = chart(labels, rain, lines, 680, 460, "Rain and temperature by year", max(rain), min(temperatures), max(temperatures))
    names = [("Total rain per year", RAIN), ("Mean daily high", HIGH), ("Mean daily low", LOW)]
    return f'<h2>Rain and temperature by year</h2>{legend(names)}<figure>{drawing}</figure>'


def per_year(years, by_month):
    columns = 1 if len(years) == 1 else 2
    rows = -(-len(years) // columns)
    height = 360 if rows == 1 else max(120, min(240, 560 // rows))
    rain, temperature = {}, {}
    for entry in years:
        for month in range(1, 13):
            days = by_month.get((entry["year"], month), [])
            rain[entry["year"], month] = round(sum(day[2] for day in days), 1) if days else None
            temperature[entry["year"], month] = sum((day[3] + day[4]) / 2 for day in days) / len(days) if days else None
    rain_max = max(value for value in rain.values() if value is not None)
    known = [value for value in temperature.values() if value is not None]
    labels = MONTHS if columns == 1 else [month[0] for month in MONTHS]
    drawings = []
    for entry in years:
        months = [(entry["year"], month) for month in range(1, 13)]
        lines = [("Mean temperature", HIGH, [temperature[month] for month in months])]
        drawing = chart(
            labels, [rain[month] for month in months], lines, 680 // columns - 6, height, f'{entry["year"]} by month', rain_max, min(known), max(known)
        )
        drawings.append(f'<figure><figcaption>{entry["year"]}</figcaption>{drawing}</figure>')
    names = [("Rain per month", RAIN), ("Mean temperature (of daily high and low)", HIGH)]
    return f'<h2>Each year by month</h2>{legend(names)}<div class="grid c{columns}">{"".join(drawings)}</div>'


def table(years):
    rows = "".join(
        f'<tr><th>{y["year"]}</th><td>{y["days"]}</td><td>{y["precipitation_mm"]:.1f}</td><td>{y["rainy_days"]}</td>'
        f'<td>{y["mean_temp_max"]:.1f}</td><td>{y["mean_temp_min"]:.1f}</td></tr>'
        for y in years
    )
    head = "<tr><th>Year</th><th>Days of data</th><th>Rain (mm)</th><th>Rainy days</th><th>Mean high (°C)</th><th>Mean low (°C)</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


STYLE = """
@page { size: A4; margin: 0 }
* { box-sizing: border-box; margin: 0; -webkit-print-color-adjust: exact; print-color-adjust: exact }
html { background: #eef1f5 }
body { width: 210mm; height: 296mm; overflow: hidden; margin: 0 auto; padding: 16mm 15mm 12mm; background: white;
  color: #1f2937; font: 10.5pt/1.45 Inter, "DejaVu Sans", sans-serif; display: flex; flex-direction: column }
h1 { font-size: 16pt; line-height: 1.2; letter-spacing: -0.01em }
h2 { font-size: 12.5pt; margin-top: 7mm }
.sub { color: #5b6472; margin-top: 1.5mm; padding-bottom: 4mm; border-bottom: 2.5pt solid #3b7dd8 }
table { border-collapse: collapse; width: 100%; margin-top: 6mm; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 1.4mm 2mm; border-bottom: 0.6pt solid #d5dae1 }
thead th { font-size: 9pt; color: #5b6472; font-weight: 600 }
th:first-child { text-align: left }
figure { margin-top: 2mm } figure svg { width: 100%; display: block }
svg text { font: 11px Inter, "DejaVu Sans", sans-serif; fill: #4b5563 } svg text.axis { font-weight: 600 }
figcaption { font-weight: 700 }
.grid { display: grid; gap: 1mm 6mm } .grid.c2 { grid-template-columns: 1fr 1fr } .grid.c2 svg text { font-size: 10px }
.legend { margin-top: 2mm; color: #4b5563; font-size: 9pt } .legend span { margin-right: 6mm } .legend svg { width: 2.6mm; height: 2.6mm; margin-right: 1.6mm }
footer { margin-top: auto; padding-top: 4mm; color: #5b6472; font-size: 8.5pt }
@media print { html { background: white } }
"""


def main():
    state = json.loads((HERE / "state.json").read_text(encoding="utf-8"))
    by_year, by_month = defaultdict(list), defaultdict(list)
    for day in read_days(HERE / "data.csv"):
        by_year[day[0]].append(day)
        by_month[day[:2]].append(day)
    if not by_year:
        sys.exit("data.csv has no rows")
    years = [{"year": year, **figures_of(by_year[year])} for year in sorted(by_year)]
    first, last = years[0]["year"], years[-1]["year"]
    span = str(first) if first == last else f"{first}–{last}"
    monthly = state["layout"] == "per-year"
    title = f'{state["subject"]} {span}: yearly rain and temperature'
    page_title = title + (", one chart per year" if monthly else "")
    days = sum(entry["days"] for entry in years)

    body = per_year(years, by_month) if monthly else overview(years)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(page_title)}</title><style>{STYLE}</style>'
        f"<body><h1>{html.escape(title)}</h1>"
        f'<p class="sub">{days:,} days from {html.escape(state["source"])}</p>'
        f"{table(years)}{body}"
        "<footer>Rain: sum of daily precipitation. Rainy day: more than 0 mm. Temperatures: mean of the daily highs and lows. "
        "Both axes of a chart have their own scale.</footer></body></html>"
    )
    write(HERE / "report.html", page)

    print(f"\n  {title}\n")
    print("  Year   Rain (mm)   Rainy days   Mean high (°C)   Mean low (°C)")
    for y in years:
        print(f'  {y["year"]:<4}{y["precipitation_mm"]:>12.1f}{y["rainy_days"]:>13}{y["mean_temp_max"]:>17.1f}{y["mean_temp_min"]:>16.1f}')
    print(f"\n  {HERE / 'report.html'}\n")

    # Last, because whoever waits for it takes it as the sign that everything is done.
    write(HERE / "figures.json", json.dumps({"title": title, "page_title": page_title, "years": years}, indent=1, ensure_ascii=False))


def write(path, text):
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


if __name__ == "__main__":
    main()
