import { execFileSync } from 'node:child_process';
import { busyboxFiles, dockerArchive } from './images.ts';

/**
 * A stand-in for the image that Testcontainers cleans up with, by the same contract: it says Started, answers each filter
 * that is sent to its port 8080 with ACK, and when the connection ends it removes what those filters find through the
 * engine's socket at /var/run/docker.sock.
 */
export function reaperArchive(name: string): Buffer {
  return dockerArchive(
    {
      layers: [busyboxFiles(), perl(), [{ name: 'reaper.pl', content: program }]],
      config: {
        Cmd: ['/usr/bin/perl', '/reaper.pl'],
        ExposedPorts: { '8080/tcp': {} },
        Env: ['PATH=/usr/bin:/bin'],
      },
    },
    [name],
  );
}

/** The machine's own perl, with what it needs. */
function perl(): Buffer {
  const ask = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8' });
  const libraries = ask('ldd', '/usr/bin/perl').match(/\/\S+/g) ?? [];
  const modules = ask('perl', '-e', 'print join "\\n", grep { -d && /perl-base/ } @INC').split('\n');
  const paths = ['/usr/bin/perl', ...libraries, ...modules].map((path) => path.slice(1));
  return execFileSync('tar', ['-C', '/', '-chf', '-', ...paths], { maxBuffer: 256 * 1024 * 1024 });
}

const program = String.raw`
use strict;
use IO::Socket::INET;
use IO::Socket::UNIX;
$| = 1;
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die $!;
print "Started!\n";
my $client = $server->accept or die $!;
my @labels;
while (my $line = <$client>) {
  $line =~ s/\r?\n$//;
  push @labels, $1 if $line =~ /^label=(.*)/;
  print $client "ACK\n";
}
sub ask {
  my ($method, $path) = @_;
  my $engine = IO::Socket::UNIX->new(Peer => "/var/run/docker.sock") or die $!;
  print $engine "$method $path HTTP/1.0\r\nHost: x\r\n\r\n";
  local $/;
  my $answer = <$engine>;
  print "$method $path: ", substr($answer, 9, 3), "\n";
  return $answer;
}
open my $name, "<", "/etc/hostname";
chomp(my $self = <$name>);
for my $label (@labels) {
  my $filters = "%7B%22label%22%3A%5B%22$label%22%5D%7D";
  my $list = ask("GET", "/v1.44/containers/json?all=1&filters=$filters");
  my @found = $list =~ /"Id":"([0-9a-f]{64})"/g;
  for my $id (@found) {
    ask("DELETE", "/v1.44/containers/$id?force=1&v=1") if substr($id, 0, 12) ne $self;
  }
  ask("POST", "/v1.44/$_/prune?filters=$filters") for "networks", "volumes", "images";
}
`;
