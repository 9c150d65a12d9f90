// The parsers of all commands: what nvmet_req_init chooses from.

import { nvmet_parse_admin_cmd } from './admin-cmd.js'
import type { nvmet_parsers } from './core.js'
import { nvmet_parse_discovery_cmd } from './discovery.js'
import { nvmet_parse_connect_cmd, nvmet_parse_fabrics_cmd } from './fabrics-cmd.js'
import { nvmet_parse_io_cmd } from './io-cmd-bdev.js'

export const NVMET_PARSERS: nvmet_parsers = {
  connect: nvmet_parse_connect_cmd,
  fabrics: nvmet_parse_fabrics_cmd,
  discovery: nvmet_parse_discovery_cmd,
  admin: nvmet_parse_admin_cmd,
  io: nvmet_parse_io_cmd,
}
