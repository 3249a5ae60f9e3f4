#!/usr/bin/perl
# Turns a package's files into prose: markup gone, paragraphs on one line each, documents separated by <|endoftext|>.
#   corpus_text.pl SOURCE ROOT > TEXT       (ROOT: where the package was unpacked; launch/prepare_corpus.sh calls it)
# The last line on standard error is the number of documents.
use strict;
use warnings;
use Compress::Zlib;

my ($source, $root) = @ARGV;
my $documents = 0;
binmode STDOUT;

# --- output

# One document: white space tidied, markup's leftovers repaired. Short scraps are left out.
sub put_document {
  my ($text) = @_;
  $text =~ s/[ \t\x{0C}]+/ /g;
  $text =~ s/ *\n */\n/g;
  $text =~ s/ +([,.;:!?)\]])/$1/g;
  $text =~ s/([(\[]) +/$1/g;
  $text =~ s/\n{3,}/\n\n/g;
  $text =~ s/^\s+|\s+$//g;
  return if length($text) < 40;
  print $text, "\n<|endoftext|>\n";
  ++$documents;
}

# Lines broken at the margin become one line a paragraph; blank lines and indented lines stay.
sub unwrap {
  my ($text) = @_;
  my @out;
  my $previous = '';
  for my $line (split /\n/, $text) {
    if (@out && length($previous) >= 45 && $line =~ /^[^\s*+>|-]/) {
      $out[-1] =~ s/\s+$//;
      $out[-1] .= " $line";
    } else {
      push @out, $line;
    }
    $previous = $line;
  }
  return join "\n", @out;
}

# --- input

sub slurp {
  my ($path) = @_;
  open my $file, '<:raw', $path or die "cannot read $path: $!\n";
  local $/;
  my $content = <$file>;
  return $path =~ /\.gz$/ ? Compress::Zlib::memGunzip($content) // die("$path is no gzip file\n") : $content;
}

sub found {
  my @paths = sort grep { -f } map { glob "$root/$_" } @_;
  die "nothing found under $root: @_\n" unless @paths;
  return @paths;
}

# --- the markups

sub strip_markdown {
  my ($text) = @_;
  $text =~ s/^>[ >]*//mg;                       # quotations
  $text =~ s/^#+\s*//mg;                        # headings
  $text =~ s/!\[[^\]]*\]\([^)]*\)//g;           # pictures
  $text =~ s/\[([^\[\]]*)\]\([^)]*\)/$1/g;      # links: their text stays
  $text =~ s/<https?:[^>]*>//g;
  $text =~ s/^\s*\*\s\*\s\*\s*$//mg;            # rules
  $text =~ s/(?<!\\)(\*\*|__)//g;               # bold
  $text =~ s/(?<![\w\\])_(?=\S)|(?<=[^\s\\])_(?!\w)|(?<=\s)_(?=\s)//g;  # italics
  $text =~ s/\\([\\`*_{}\[\]()#+.!>-])/$1/g;    # escapes
  return $text;
}

sub strip_osis {
  my ($text) = @_;
  $text =~ s/<note\b[^>]*>.*?<\/note>/ /gs;     # footnotes
  $text =~ s/<\/title>|<(div|lg|l|p)\b[^>]*\beID=[^>]*type="(x-p|paragraph|x-s\d?)"[^>]*>|<lb\b[^>]*>|<\/p>/\n\n/g;
  $text =~ s/<(w|hi|transChange|divineName|q|foreign|seg)\b[^>]*>|<\/(w|hi|transChange|divineName|q|foreign|seg)>//g;
  $text =~ s/<[^>]+>/ /g;
  my %named = (lt => '<', gt => '>', amp => '&', quot => '"', apos => "'");
  $text =~ s/&(lt|gt|amp|quot|apos);/$named{$1}/g;
  return $text;
}

# A SWORD module (verse records of 10 bytes with a 16-bit size, or 12 with a 32-bit one): every verse's text in order, a
# verse record being (block, offset, size) and a block record (offset, compressed size, size) of zlib data.
sub sword_entries {
  my ($directory, $record_bytes, $take) = @_;
  for my $testament ('ot', 'nt') {
    my ($blocks_file) = glob "$root/$directory/$testament.?zs";
    next unless defined $blocks_file;
    (my $base = $blocks_file) =~ s/zs$//;
    my @blocks = unpack '(VVV)*', slurp("${base}zs");
    my $verses = slurp("${base}zv");
    my $data = slurp("${base}zz");
    my ($loaded, $block, $last) = (-1, '', '');
    for (my $at = 0; $at + $record_bytes <= length $verses; $at += $record_bytes) {
      my ($number, $offset, $size) = unpack $record_bytes == 12 ? 'VVV' : 'VVv', substr($verses, $at, $record_bytes);
      next if $size == 0 || "$number $offset" eq $last;  # several verses may share a comment
      $last = "$number $offset";
      if ($number != $loaded) {
        $block = uncompress(substr $data, $blocks[3 * $number], $blocks[3 * $number + 1]);
        die "block $number of $base cannot be uncompressed\n" unless defined $block;
        $loaded = $number;
      }
      $take->(substr $block, $offset, $size);
    }
  }
}

# A document a chapter.
sub sword {
  my ($directory, $record_bytes, $paragraph_a_verse) = @_;
  my $chapter = '';
  sword_entries($directory, $record_bytes, sub {
    my ($text) = @_;
    if ($text =~ /<chapter\b[^>]*sID=/) {
      put_document(unwrap(strip_osis($chapter)));
      $chapter = '';
    }
    $chapter .= $text . ($paragraph_a_verse ? "\n\n" : ' ');
  });
  put_document(unwrap(strip_osis($chapter)));
}

# --- the sources

my %sources = (
  # Essays in Markdown; a document a section.
  essays => sub {
    for my $path (found('usr/share/doc/anarchism/markdown/*.md.gz')) {
      next if $path =~ /(links|biblio|pdf|new|contact|index)\.md/;  # lists of links and books
      my $text = slurp($path);
      put_document(unwrap(strip_markdown($_))) for split /^(?=#{1,2} )/m, $text;
    }
  },
  # A treasury of comments on the Psalms.
  psalms => sub { sword('usr/share/sword/modules/comments/zcom/tdavid', 12, 1) },
  commentary => sub { sword('usr/share/sword/modules/comments/zcom/mhcc', 10, 1) },
  bible => sub { sword('usr/share/sword/modules/texts/ztext/engWEB2015eb', 10, 0) },
  # Six novels, as R keeps them: zlib blocks of serialised character vectors (XDR; type 16 a vector, 9 a string).
  novels => sub {
    my ($path) = found('usr/lib/R/site-library/janeaustenr/data/Rdata.rdb');
    my $data = slurp($path);
    for (my $at = 0; $at + 4 < length $data;) {
      my $stream = Compress::Zlib::inflateInit() or die "zlib does not start\n";
      my $rest = substr $data, $at + 4;
      my $before = length $rest;
      my ($vector, $status) = $stream->inflate($rest);
      die "$path cannot be uncompressed\n" unless $status == Z_STREAM_END;
      $at += 4 + $before - length $rest;
      next unless $vector =~ /^X\n.{12}.{4}.{5}\0\0\0\x10(.{4})/s || $vector =~ /^X\n.{12}\0\0\0\x10(.{4})/s;
      my ($count, $cursor) = (unpack('N', $1), $+[0]);
      my @lines;
      for (1 .. $count) {
        my (undef, $size) = unpack 'NN', substr($vector, $cursor, 8);
        push @lines, substr $vector, $cursor + 8, $size;
        $cursor += 8 + $size;
      }
      my $novel = join "\n", @lines;
      $novel =~ s/(?<!\w)_|_(?!\w)//g;
      put_document(unwrap($_)) for split /^(?=chapter [IVXL\d]+)/mi, $novel;
    }
  },
  # Sayings and stories, thirty to a document: alone they are too short to be one.
  sayings => sub {
    for my $path (grep { !/\.(dat|u8)$/ } found('usr/share/games/fortunes/*')) {
      next if $path =~ m{/(ascii-art|translate-me|ethnic|men-women|zippy|perl)$};  # pictures, other languages, bad taste
      my @sayings = split /^%\n/m, slurp($path);
      while (my @some = splice @sayings, 0, 30) {
        put_document(join "\n\n", map { unwrap($_) } @some);
      }
    }
  },
);

die "usage: corpus_text.pl " . join('|', sort keys %sources) . " ROOT\n" unless defined $root && $sources{$source};
$sources{$source}->();
die "$source gave no text: the package has changed\n" unless $documents;
print STDERR "$documents\n";
