package alerts
import (
 _ "github.com/prometheus/prometheus/promql/parser"
 _ "github.com/prometheus/prometheus/promql/promqltest"
 _ "github.com/prometheus/prometheus/rules"
)
