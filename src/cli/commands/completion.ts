import { EngineClient } from '../../client/client.ts';
import { maxVersion } from '../../protocol/version.ts';
import { type Command, didYouMean, UsageError } from '../command.ts';
import { type CompletionDeps, complete } from '../complete.ts';
import { engineAddress } from '../connect.ts';
import { engineNames } from '../engine-names.ts';

/** Who presses the tab key waits no longer than this for names. */
const patience = 200;

/** What stands in the shell's own language; `candidates` is for these scripts and not for people. */
const scripts: Readonly<Record<string, string>> = {
  bash: `_berth() {
  local line=\${COMP_LINE:0:COMP_POINT} typed head word
  typed=\${line##*[[:space:]]}
  # Readline ends words at colons and equals signs too: what is before the last one stays where it is.
  head=\${typed%"\${typed##*[:=]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r word _; do
    COMPREPLY+=("\${word#"$head"}")
  done < <("$1" completion candidates "$line" 2>/dev/null)
}
complete -o default -o nosort -F _berth berth
`,
  zsh: `#compdef berth
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_berth() {
  local -a found names shown
  local one
  found=("\${(@f)$(berth completion candidates "\${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  for one in $found; do
    [[ -n $one ]] || continue
    names+=("\${one%%$'\\t'*}")
    shown+=("\${one/$'\\t'/  -- }")
  done
  if (( $#names )); then
    compadd -l -d shown -a names
  else
    _files
  fi
}
compdef _berth berth
`,
  fish: `function __berth_candidates
    set -l found (berth completion candidates (commandline -cp | string collect) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c berth -f -a '(__berth_candidates)'
`,
};

export function completionOf(commands: CompletionDeps['commands']): Command {
  return {
    usage: 'completion bash | zsh | fish',
    about:
      'Prints what makes a shell complete commands, flags and the names of containers, images, networks and volumes.',
    options: {},
    operands: { least: 1, most: 2 },
    examples: [
      'source <(berth completion bash)           # in ~/.bashrc',
      'source <(berth completion zsh)            # in ~/.zshrc',
      'berth completion fish > ~/.config/fish/completions/berth.fish',
    ],
    async run(parsed) {
      const [shell, line] = parsed.operands;
      if (shell === 'candidates' && line !== undefined) {
        const found = await complete(line, { commands, names: quickNames() });
        process.stdout.write(found.map(({ word, about }) => `${word}${about ? `\t${about}` : ''}\n`).join(''));
        return 0;
      }
      const script = scripts[shell!];
      if (script === undefined || line !== undefined)
        throw new UsageError(
          `no such shell: ${shell}${didYouMean(shell!, Object.keys(scripts))}`,
          'berth completion --help',
        );
      process.stdout.write(script);
      return 0;
    },
  };
}

/** Names that came in time, or none. */
function quickNames(): CompletionDeps['names'] {
  const signal = AbortSignal.timeout(patience);
  return async (kind) => {
    try {
      // A version is given: to ask for it is a request more.
      await using client = new EngineClient({ socket: engineAddress(), version: maxVersion });
      return await engineNames(client, kind, signal);
    } catch {
      return [];
    }
  };
}
