-- Health of a8s.dev/Session, from its conditions: Stalled asks for a person, Ready is the goal.
local health = {status = "Progressing", message = "Waiting for the a8s controller"}
local status = obj.status
if status == nil or status.observedGeneration == nil then
  return health
end
if obj.metadata.generation ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if status.state == "Suspended" or status.state == "Archived" then
  local why = found.Ready ~= nil and found.Ready.message or "Suspended as asked"
  return {status = "Suspended", message = why}
end
if status.state == "Chatting" then
  -- Nothing is made before a person has said what is wanted.
  return {status = "Suspended", message = status.doing or "The chat agent waits for a person"}
end
if status.state == "Terminated" then
  return {status = "Healthy", message = "Terminated as asked"}
end
if found.Finished ~= nil and found.Finished.status == "True" then
  return {status = "Healthy", message = found.Finished.message}
end
if found.Ready ~= nil then
  health.message = found.Ready.message
  if found.Ready.status == "True" then
    health.status = "Healthy"
  end
end
return health
