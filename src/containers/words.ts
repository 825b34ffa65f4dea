/** What a container is called that was given no name: one of each. */
export const adjectives: readonly string[] = (
  'able amber ample autumn azure balmy beaming blithe bold brave breezy bright brisk calm candid cedar cheery civil ' +
  'clear clever coastal cobalt copper coral cosy crisp dapper daring deft dewy eager early easy elder ember fair ' +
  'fearless fleet floral fluent fond frank fresh frosty gentle gilded glad gleaming golden grand green happy hardy ' +
  'hazel hearty humble ivory jolly jovial keen kind lilac limber lively lofty loyal lucid lunar mellow merry mighty ' +
  'mild misty modest mossy neat nimble noble northern oaken olive opal patient pearly plucky polite prime proud ' +
  'quick quiet rapid ready rosy ruby rugged rustic sage sandy scarlet serene sharp silent silver sleek snowy solar ' +
  'southern spry stable starry steady stellar stout sturdy sunny sure swift tawny tender tidal tidy tranquil trusty ' +
  'upbeat valiant velvet vernal vivid warm western willing windy wise witty zesty'
).split(' ');

export const nouns: readonly string[] = (
  'albatross anchor anvil atoll bay beacon beam bell birch boathouse bollard bow brig buoy cairn canal canoe cape capstan ' +
  'caravel channel cliff clipper coast cog compass coot cormorant corvette cove crane creek current cutter dhow dinghy ' +
  'dock dolphin dory dune eddy eider estuary falcon ferry fjord flotilla foghorn frigate gale galleon gannet gantry ' +
  'grebe gull halyard harbor haven hawser headland heron hull inlet island isthmus jetty junk kayak keel kelp ketch ' +
  'kingfisher lagoon lantern ledge lighthouse locker lugger mangrove marina mast meadow mooring narwhal oar osprey otter paddle ' +
  'pelican petrel pier pilot pinnace plover port prow puffin quay raft reef ridge rigging river rudder sail sandpiper ' +
  'schooner seal sextant shoal shore skiff sloop sound spar spinnaker stern strait surf swan teal tern tide tiller ' +
  'tugboat turtle vessel voyage walrus wave wharf whale wherry yacht yawl'
).split(' ');
