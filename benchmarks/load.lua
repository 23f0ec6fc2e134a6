-- The load, for wrk:
--
--     wrk -t1 -c4 -d6s --latency -s load.lua http://127.0.0.1:8000 -- FILE STAMP [check]
--
-- FILE has a request per line: method, path, token, body, one more header or nothing, with tabs
-- between. They are sent in order, again from the first after the last. @STAMP in a body or header
-- becomes STAMP, so that every run changes what it writes to. With `check` the first bad answer is printed; that costs the load
-- some speed, so a measured run goes without.

local requests, count, sent = {}, 0, 0

function init(args)
  local stamp = args[2]
  for line in io.lines(args[1]) do
    local method, path, token, body, header = line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
    local headers = {["Authorization"] = "Bearer " .. token, ["Host"] = "127.0.0.1"}
    if body == "" then
      body = nil
    else
      headers["Content-Type"] = "application/json"
      body = body:gsub("@STAMP", stamp)
    end
    local name, value = header:match("^(.-): (.*)$")
    if name then
      headers[name] = (value:gsub("@STAMP", stamp))
    end
    count = count + 1
    requests[count] = wrk.format(method, path, headers, body)
  end
  if args[3] == "check" then
    local is_reported = false
    function response(status, _, answer)
      if not is_reported and (status < 200 or status > 299) then
        is_reported = true
        io.write("BAD ", status, " ", answer, "\n")
      end
    end
    _G.response = response
  end
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % count + 1]
end

-- requests, microseconds, transport errors, answers of 400 and more, p50, p90, p99 in microseconds
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
