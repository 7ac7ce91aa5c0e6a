// A real InfluxDB 2 for the tests. It cannot be had by `go install`, which refuses modules whose own go.mod
// has a `replace` line; as a tool of this empty module it can. `build` beside this file does it.
module tidegate/tools/influxd2

go 1.24

tool (
	github.com/influxdata/influxdb/v2/cmd/influxd
	github.com/influxdata/pkg-config
)

require (
	github.com/influxdata/influxdb/v2 v2.7.12
	github.com/influxdata/pkg-config v0.2.14
)

replace github.com/nats-io/nats-streaming-server v0.11.2 => github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
