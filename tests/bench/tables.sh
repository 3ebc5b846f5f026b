#!/bin/bash
# tables.sh RATES SINGLES <INFO: turns the measurements of compare.sh into Markdown on stdout. INFO
# is text that goes in front. A ratio is etcdd : etcd for rates and etcd : etcdd for costs, so that
# above 1 is in etcdd's favour.
set -euo pipefail

cat
awk -F'\t' -v rates="$1" -v singles="$2" '
function median(list,    parts, n, i, j, t) {
  n = split(list, parts, " ")
  for (i = 2; i <= n; ++i) {
    t = parts[i] + 0
    for (j = i - 1; j >= 1 && parts[j] + 0 > t; --j) parts[j + 1] = parts[j]
    parts[j + 1] = t
  }
  if (n == 0) return 0
  return n % 2 ? parts[(n + 1) / 2] : (parts[n / 2] + parts[n / 2 + 1]) / 2
}
function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }
function rate(x) { return x >= 10000 ? sprintf("%.1fk", x / 1000) : sprintf("%.0f", x) }
function cpu(x) { return x >= 10 ? sprintf("%.1f", x) : sprintf("%.2f", x) }
function plain(x) { return x >= 100 ? sprintf("%.0f", x) : sprintf("%.2f", x) }
function remember(row) { if (!(row in seen)) { seen[row] = 1; order[++rows] = row } }
function value(row, who, column) { return median(values[row, who, column]) }
BEGIN {
  while ((getline line < rates) > 0) {
    split(line, f, "\t")
    remember(f[2])
    for (i = 4; i <= 8; ++i) values[f[2], f[3], i] = values[f[2], f[3], i] " " f[i]
  }
  if (rows > 0) {
    print ""
    print "| operation | etcd /s | etcdd /s | ratio | etcd p50 / p99 us | etcdd p50 / p99 us |" \
          " p99 ratio | etcd CPU s per 100k | etcdd | ratio | client CPU share, etcd / etcdd |"
    print "|---|---|---|---|---|---|---|---|---|---|---|"
  }
  for (i = 1; i <= rows; ++i) {
    r = order[i]
    printf "| %s | %s | %s | %s | %.0f / %.0f | %.0f / %.0f | %s | %s | %s | %s | %.2f / %.2f |\n",
           r, rate(value(r, "etcd", 4)), rate(value(r, "etcdd", 4)),
           ratio(value(r, "etcdd", 4), value(r, "etcd", 4)),
           value(r, "etcd", 5), value(r, "etcd", 6), value(r, "etcdd", 5), value(r, "etcdd", 6),
           ratio(value(r, "etcd", 6), value(r, "etcdd", 6)),
           cpu(value(r, "etcd", 7)), cpu(value(r, "etcdd", 7)),
           ratio(value(r, "etcd", 7), value(r, "etcdd", 7)),
           value(r, "etcd", 8), value(r, "etcdd", 8)
  }
  rows = 0
  delete seen
  while ((getline line < singles) > 0) {
    split(line, f, "\t")
    remember(f[1])
    values[f[1], f[2], 0] = values[f[1], f[2], 0] " " f[3]
  }
  if (rows > 0) {
    print ""
    print "| large section | etcd | etcdd | ratio |"
    print "|---|---|---|---|"
  }
  for (i = 1; i <= rows; ++i) {
    r = order[i]
    printf "| %s | %s | %s | %s |\n", r, plain(value(r, "etcd", 0)), plain(value(r, "etcdd", 0)),
           ratio(value(r, "etcd", 0), value(r, "etcdd", 0))
  }
}'
